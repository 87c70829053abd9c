// What a scheduler needs of Consul's HTTP API: consistent reads, transactions, a session, and something to wait on.
// Plain node:http; no package. All keys are relative to the prefix of the store's URL.

import http from 'node:http';
import { randomUUID } from 'node:crypto';

const TTL_S = 6; // a scheduler that is killed loses its locks after this

export class Consul {
  // url: consul://HOST:PORT[/PREFIX]
  constructor(url, token) {
    const { protocol, hostname, port, pathname } = new URL(url);
    if (protocol !== 'consul:') throw new Error(`${url} is no store of this example: consul://HOST:PORT[/PREFIX]`);
    const prefix = decodeURIComponent(pathname).replace(/^\/+|\/+$/g, '');
    this.prefix = prefix ? `${prefix}/` : '';
    this.server = { hostname, port: port || 8500, agent: new http.Agent({ keepAlive: true }) };
    this.headers = token ? { 'X-Consul-Token': token } : {};
  }

  // One request: { status, index, body }. Rejects when there was no answer: then a write may still have happened.
  call(method, path, body, timeoutMs = 15_000) {
    return new Promise((resolve, reject) => {
      const request = http.request({ ...this.server, method, path: `/v1/${path}`, headers: this.headers }, (answer) => {
        const chunks = [];
        answer.on('data', (chunk) => chunks.push(chunk));
        answer.on('error', reject);
        answer.on('end', () => {
          const text = Buffer.concat(chunks).toString('utf8');
          const status = answer.statusCode;
          const index = Number(answer.headers['x-consul-index'] ?? 0);
          if (status === 404) resolve({ status, index, body: null });
          else if (status !== 200 && status !== 409) reject(new Error(`${method} ${path}: ${status} ${text.trim()}`));
          else {
            try {
              resolve({ status, index, body: text ? JSON.parse(text) : null }); // registrations answer nothing
            } catch (error) {
              reject(error);
            }
          }
        });
      });
      request.setTimeout(timeoutMs, () => request.destroy(new Error(`${method} ${path}: no answer`)));
      request.on('error', reject);
      request.end(body === undefined ? undefined : JSON.stringify(body));
    });
  }

  // All keys under a prefix as they are now: [{ key, text, index, session }]. `consistent` is not optional: a stale
  // read may show what was there before the last transaction.
  async list(prefix) {
    const { body } = await this.call('GET', `kv/${encodeURI(this.prefix + prefix)}?recurse&consistent`);
    return (body ?? []).map(entryOf(this.prefix));
  }

  // One key, or null when it is certainly not there.
  async get(key) {
    const { body } = await this.call('GET', `kv/${encodeURI(this.prefix + key)}?consistent`);
    return body === null ? null : entryOf(this.prefix)(body[0]);
  }

  // All of the operations or none. True: done. False: a condition did not hold. Rejects: nobody knows.
  async commit(operations) {
    const verbs = operations.map(({ key, text, ...rest }) => ({
      KV: { Key: this.prefix + key, Value: Buffer.from(text ?? '').toString('base64'), ...rest },
    }));
    return (await this.call('PUT', 'txn', verbs)).status === 200;
  }

  // Wait until something under a prefix may have changed; returns the index to wait after next.
  async wait(prefix, index) {
    const path = `kv/${encodeURI(this.prefix + prefix)}?keys&separator=/&index=${index}&wait=60s`;
    const found = (await this.call('GET', path, undefined, 90_000)).index;
    return found < index ? 0 : found; // an index that goes back: Consul was restored, so look at everything anew
  }

  // A session that lives as long as this process passes a check of its own, on the local agent, and the node is there.
  // (A session with only a TTL is simpler: PUT session/create {"TTL": "10s", "LockDelay": "0s"} and PUT
  // session/renew/ID every few seconds. But Consul ends it up to 20 s after its owner died.)
  async openSession(name) {
    const id = `reconciler-${name}-${randomUUID()}`;
    const check = {
      CheckID: `service:${id}`,
      Name: 'alive',
      TTL: `${TTL_S}s`,
      Status: 'passing',
      DeregisterCriticalServiceAfter: '1m',
    };
    await this.call('PUT', 'agent/service/register', { ID: id, Name: 'reconciler', Check: check });
    for (let attempt = 0; ; attempt += 1) {
      try {
        const request = { Name: id, Checks: ['serfHealth', check.CheckID], LockDelay: '0s', Behavior: 'release' };
        const { body } = await this.call('PUT', 'session/create', request);
        return { id: body.ID, service: id };
      } catch (error) {
        if (attempt === 40) throw error; // the servers do not know the check yet
        await new Promise((resolve) => setTimeout(resolve, 100));
      }
    }
  }

  // Prolong it. False: it is gone for good.
  async renew(session) {
    await this.call('PUT', `agent/check/pass/service:${session.service}`);
    return ((await this.call('GET', `session/info/${session.id}?consistent`)).body ?? []).length > 0;
  }

  // End it, and with it give up all that it holds.
  async close(session) {
    await this.call('PUT', `session/destroy/${session.id}`);
    await this.call('PUT', `agent/service/deregister/${session.service}`);
  }
}

Consul.TTL_S = TTL_S;

function entryOf(prefix) {
  return ({ Key, Value, ModifyIndex, Session }) => ({
    key: Key.slice(prefix.length),
    text: Value === null ? '' : Buffer.from(Value, 'base64').toString('utf8'),
    index: ModifyIndex,
    session: Session ?? null,
  });
}
