// A scheduler of its own for reconciler, in JavaScript for Node, without packages: holds the locks of the clusters that
// name it, reads, plans, and writes one fenced transaction at a time; again whenever something changes.
//
//   node scheduler.mjs --name node --store consul://127.0.0.1:8500
//
// docs/external-schedulers.md is the contract that it keeps; README.md beside this file says what to change.

import os from 'node:os';
import { parseArgs } from 'node:util';

import { Consul } from './consul.mjs';
import { canonical, plan } from './plan.mjs';
import { read } from './read.mjs';

const { values: options } = parseArgs({
  options: {
    name: { type: 'string', default: 'node' },
    store: { type: 'string', default: process.env.RECONCILER_STORE ?? 'consul://127.0.0.1:8500' },
    'reschedule-after': { type: 'string', default: '30' },
  },
});

const MOST_OPERATIONS = 64; // what Consul takes in one transaction
const DECISIONS = 20;
const STANDBY_MS = 5_000;
const SOON_MS = 1_000;
const AGAIN_MS = 200;

class Scheduler {
  constructor(consul) {
    this.consul = consul;
    this.identity = `${os.hostname()}:${process.pid}`;
    this.held = new Set();
    this.since = new Map(); // when something was first seen to be missing or failed, on our own clock
    this.stopping = false;
    this.wake = () => {};
  }

  async run() {
    for (const prefix of ['config/', 'state/', 'schedulers/']) this.watch(prefix);
    const renewal = setInterval(() => this.renew(), (Consul.TTL_S * 1000) / 3);
    while (!this.stopping) {
      const woken = new Promise((resolve) => (this.wake = resolve));
      let wait = STANDBY_MS;
      try {
        wait = await this.step();
      } catch (error) {
        log(error.message); // an error on a write means unknown: read again, plan anew
        wait = SOON_MS;
      }
      const timer = setTimeout(this.wake, wait);
      await woken;
      clearTimeout(timer);
    }
    clearInterval(renewal);
    if (this.session) await this.consul.close(this.session); // gives up the locks at once
  }

  stop() {
    this.stopping = true;
    this.wake();
  }

  // One look; returns after how many ms to look again although nothing changed.
  async step() {
    if (!(await this.isAlive())) return SOON_MS;
    const world = await read(this.consul);
    const locks = new Map((await this.consul.list('schedulers/')).map((entry) => [entry.key.slice(11), entry]));
    const served = [...world.clusters].filter(([, each]) => each.scheduler === options.name).map(([name]) => name);
    const left = [...world.heads].filter(([name, head]) => head.scheduler === options.name && !world.clusters.has(name));
    const ours = new Set([...served, ...left.map(([name]) => name)]);
    this.held = new Set([...locks].filter(([, lock]) => lock.session === this.session.id).map(([name]) => name));
    let isNew = false;
    for (const cluster of ours) {
      if (!world.doubt && !locks.get(cluster)?.session) isNew = (await this.lock(cluster)) || isNew;
    }
    // what was read before we had the lock may be older than the last write of whoever had it
    return isNew ? 0 : this.schedule(world);
  }

  async schedule(world) {
    let wait = STANDBY_MS;
    const now = this.measure(world);
    for (const cluster of this.held) {
      const made = plan(world, options.name, cluster, now);
      if (made.hold) log(`${cluster}: nothing is changed: ${made.hold}`);
      else if (made.release) await this.unlock(cluster);
      else if (made.forget || made.actions.length) {
        const isDone = await this.commit(world, cluster, made);
        return isDone ? 0 : AGAIN_MS; // whatever else was planned rests on what is old now
      } else if (made.wait) wait = SOON_MS;
    }
    return wait;
  }

  // One transaction: all of it, or nothing when the lock is lost or anything it rests on has moved.
  async commit(world, cluster, { actions = [], forget = false }) {
    const put = (key, value) => ({ Verb: 'cas', key, text: canonical(value), Index: world.indexOf.get(key) ?? 0 });
    const remove = (key) => ({ Verb: 'delete-cas', key, Index: world.indexOf.get(key) });
    const headKey = `state/clusters/${cluster}`;
    const head = world.heads.get(cluster) ?? { cluster, scheduler: options.name, seq: world.placement, decisions: [] };
    const seq = head.seq + 1;
    const operations = [
      { Verb: 'check-session', key: `schedulers/${cluster}`, Session: this.session.id },
      ...world.unmoved.map(({ key, index }) => ({ Verb: 'check-index', key, Index: index })),
    ];
    const fitting = actions.slice(0, Math.floor((MOST_OPERATIONS - operations.length - 2) / 2));
    const decisions = fitting.map(({ issue, withdraw, why }) => ({
      seq,
      at: Date.now() / 1000,
      service: (issue ?? withdraw).service,
      what: issue ? `start ${issue.id} on ${issue.host}` : `stop ${withdraw.id} on ${withdraw.host}`,
      why,
    }));
    if (forget) {
      // a later cluster of this name begins above every issue that this one has used
      operations.push(remove(headKey), put('state/placement', { seq: Math.max(world.placement, head.seq) + 1 }));
      operations.push({ Verb: 'delete', key: `schedulers/${cluster}` });
    } else {
      operations.push(put(headKey, { ...head, seq, decisions: [...head.decisions, ...decisions].slice(-DECISIONS) }));
      if (fitting.some(({ issue }) => issue)) operations.push(put('state/placement', { seq: world.placement + 1 }));
    }
    for (const { issue, withdraw } of fitting) {
      const { id, host } = issue ?? withdraw;
      for (const key of [`state/tasks/_/${id}`, `state/tasks/${host}/${id}`]) {
        if (issue) operations.push(put(key, { ...issue, issue: seq }));
        else if (world.indexOf.has(key)) operations.push(remove(key));
      }
    }
    if (!(await this.isAlive())) return false;
    const isDone = await this.consul.commit(operations);
    for (const { what, why } of isDone ? decisions : []) log(`${cluster}: ${what}: ${why}`);
    return isDone;
  }

  // For how long hosts have been missing and tasks failed, on our own monotonic clock, since we have had a lock.
  measure(world) {
    const seconds = performance.now() / 1000;
    const missing = [...new Set(world.tasks.map((task) => task.host))].filter((host) => !world.present.has(host));
    const failed = world.tasks.filter((task) => {
      const status = world.statuses.get(task.host)?.tasks[task.id];
      return status?.issue === task.issue && ['failed', 'rejected', 'complete'].includes(status.phase);
    });
    const name = (task) => `task ${task.id} ${task.issue}`;
    const seen = [...missing.map((host) => `host ${host}`), ...failed.map(name)];
    this.since = new Map(seen.map((each) => [each, this.since.get(each) ?? seconds]));
    const lasts = (each) => seconds - (this.since.get(each) ?? seconds);
    return {
      wall: Date.now() / 1000,
      patience: Number(options['reschedule-after']),
      anyMissing: missing.length > 0,
      missing: (host) => lasts(`host ${host}`),
      failed: (task) => lasts(name(task)),
    };
  }

  async lock(cluster) {
    const key = `schedulers/${cluster}`;
    const isDone = await this.consul.commit([{ Verb: 'lock', key, text: this.identity, Session: this.session.id }]);
    if (isDone) {
      if (!this.held.size) this.since.clear();
      this.held.add(cluster);
      log(`${cluster}: scheduled by ${this.identity}`);
    }
    return isDone;
  }

  async unlock(cluster) {
    this.held.delete(cluster);
    await this.consul.commit([{ Verb: 'unlock', key: `schedulers/${cluster}`, text: '', Session: this.session.id }]);
    log(`${cluster}: no longer scheduled by ${this.identity}`);
  }

  // Whether our session certainly lives: renewed less than a TTL ago by our own clock. A process that was frozen finds
  // out here, and would be refused by check-session besides.
  async isAlive() {
    if (this.session && performance.now() < this.deadline) return true;
    if (!this.session) {
      const began = performance.now();
      const session = await this.consul.openSession('scheduler');
      this.held.clear();
      this.session = session;
      this.deadline = began + Consul.TTL_S * 1000;
      return true;
    }
    return this.renew();
  }

  async renew() {
    const { session } = this;
    if (!session) return false;
    const began = performance.now();
    try {
      const isThere = await this.consul.renew(session);
      if (this.session === session && isThere) this.deadline = began + Consul.TTL_S * 1000;
      else if (this.session === session) this.session = null;
      return isThere;
    } catch (error) {
      log(`the session could not be renewed: ${error.message}`);
      return false;
    }
  }

  async watch(prefix) {
    for (let index = 0; !this.stopping; ) {
      try {
        index = await this.consul.wait(prefix, index);
      } catch {
        index = 0;
        await new Promise((resolve) => setTimeout(resolve, SOON_MS));
      }
      this.wake();
    }
  }
}

function log(text) {
  process.stdout.write(`${new Date().toISOString()} ${text}\n`);
}

const scheduler = new Scheduler(new Consul(options.store, process.env.CONSUL_HTTP_TOKEN));
for (const signal of ['SIGTERM', 'SIGINT']) process.once(signal, () => scheduler.stop());
await scheduler.run();
process.exit(0); // the watches are still waiting
