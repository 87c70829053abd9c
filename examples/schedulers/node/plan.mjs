// What should be done now, as a pure function of what was read: no I/O, no clock. Every action is legal by itself in
// the order given: healthy tasks never fall below min by our doing, issued ones never rise above max.

import { createHash } from 'node:crypto';

const PORT_RANGE = [20000, 29999];
const ENDED = new Set(['failed', 'rejected', 'complete', 'stopped']);
const MAYBE_HEALTHY = new Set(['healthy', 'unknown', 'missing']);

// Canonical JSON: no spaces, keys sorted by code point.
export function canonical(value) {
  if (Array.isArray(value)) return `[${value.map(canonical).join(',')}]`;
  if (value === null || typeof value !== 'object') return JSON.stringify(value);
  const keys = Object.keys(value).sort((one, other) => Buffer.compare(Buffer.from(one), Buffer.from(other)));
  return `{${keys.map((key) => `${JSON.stringify(key)}:${canonical(value[key])}`).join(',')}}`;
}

// Without the members that say nothing: null, false, 0, "", [] and {}.
function said(value) {
  if (Array.isArray(value)) return value.map(said);
  if (value === null || typeof value !== 'object') return value;
  const members = Object.entries(value).map(([name, each]) => [name, said(each)]);
  const empty = (each) => each !== null && typeof each === 'object' && Object.keys(each).length === 0;
  return Object.fromEntries(members.filter(([, each]) => each && !empty(each)));
}

// The digest is that of a definition's content, whoever manages it.
export function digest(definition) {
  return createHash('sha256').update(canonical(said({ ...definition, managed_by: null }))).digest('hex').slice(0, 32);
}

// world: see read.mjs. now: { wall (s), missing(host) → s, failed(task) → s, patience (s) }, measured by the caller.
// Answers { hold } (nothing may be concluded), { release } (another scheduler is named), { forget } (the last task of a
// removed cluster is gone) or { actions: [{ issue | withdraw: task, why }], wait } (wait: something is due soon).
export function plan(world, name, cluster, now) {
  if (world.doubt) return { hold: world.doubt };
  const declared = world.clusters.get(cluster);
  const head = world.heads.get(cluster);
  if ((declared ?? head)?.scheduler !== name) return { release: true };
  const tasks = world.tasks.filter((task) => task.cluster === cluster);
  const context = { world, cluster, now, lost: lostHosts(world, now), room: new Room(world), ids: takenIds(world) };
  const actions = [];
  for (const service of [...new Set([...(declared?.services ?? []), ...tasks.map((task) => task.service)])].sort()) {
    const mine = tasks.filter((task) => task.service === service);
    const wanted = declared?.services.includes(service) ? world.services.get(service) : undefined;
    const definition = wanted && world.definitions.get(`${wanted.task_name}/${wanted.task_version}`);
    if (isHeld(world, declared, wanted, definition)) continue;
    if (wanted && (wanted.kind ?? 'service') !== 'service') continue; // another promise than the one that is kept here
    if (wanted?.placement) continue; // and hosts are not looked at that closely
    if (!wanted || wanted.desired === 0) actions.push(...mine.map((task) => ({ withdraw: task, why: 'not wanted any more' })));
    else actions.push(...planService(context, wanted, definition, mine));
  }
  if (!declared && head && !tasks.length && !world.applying.size) return { forget: true };
  return { actions, wait: context.wait || context.now.anyMissing };
}

// A mix of revisions decides nothing, and what is missing may only not be there yet.
function isHeld(world, cluster, service, definition) {
  if (world.applying.size && (!cluster || !service)) return true;
  if (!cluster || !service) return false;
  return !definition || [cluster, service, definition].some((each) => world.applying.has(each.managed_by));
}

function planService(context, service, definition, tasks) {
  const { world, lost, room, now } = context;
  const ceiling = service.max ?? service.desired + 1;
  const desired = Math.min(service.desired, ceiling);
  const floor = Math.min(service.min ?? desired, desired);
  const actions = [];
  const members = tasks.map((task) => {
    const config = world.hostConfigs.get(task.host);
    const drains = config?.draining && !world.applying.has(config.managed_by);
    const current = task.task_name === definition.name && task.task_version === definition.version;
    const state = standing(world, task, lost);
    return { task, state, keep: current && task.digest === definition.digest && !drains };
  });
  let issued = members.length;
  let healthy = members.filter((member) => member.state === 'healthy').length;
  const withdraw = (member, why) => {
    actions.push({ withdraw: member.task, why });
    issued -= 1;
    if (member.state === 'healthy') healthy -= 1;
    member.gone = true;
  };

  // 1. What is dead makes room: lost with its host, or given up by its agent (later each time).
  const dead = [];
  for (const member of members) {
    const isDue = member.state === 'failed' && now.failed(member.task) >= retryDelay(member.task);
    if (member.state === 'failed' && !isDue) context.wait = true;
    if (member.state !== 'lost' && !isDue) continue;
    withdraw(member, member.state === 'lost' ? `host ${member.task.host} is lost` : `failed on ${member.task.host}`);
    dead.push(member);
  }
  const keepers = members.filter((member) => member.keep && !member.gone);
  const leavers = members.filter((member) => !member.keep && !member.gone).sort(leastUseFirst);

  // 2. New tasks start, as far as max and the hosts allow.
  let missing = desired - keepers.length;
  const crowd = (host) => members.filter((each) => !each.gone && each.task.host === host).length;
  while (missing > 0 && issued < ceiling) {
    const failed = dead.find((member) => member.state === 'failed')?.task;
    const task = nextTask(context, service, definition, crowd, failed);
    if (!task) break;
    if (failed) dead.splice(dead.findIndex((member) => member.task === failed), 1);
    actions.push({ issue: task, why: `${desired} desired of version ${definition.version}` });
    members.push({ task, state: 'starting', keep: true });
    issued += 1;
    missing -= 1;
  }

  // 3. Old versions and tasks on draining hosts go: start first, then stop. What is certainly not healthy makes room.
  const before = actions.length;
  for (const member of leavers) {
    if (member.state === 'missing') continue;
    const why = member.task.task_version === definition.version ? `host ${member.task.host} drains` : 'replaced';
    if (!MAYBE_HEALTHY.has(member.state)) {
      if (issued > desired || missing > 0) withdraw(member, why);
    } else if (healthy - (member.state === 'healthy') >= (issued > ceiling ? floor : desired)) withdraw(member, why);
  }
  // Only where nothing could start first (max, no room) does one go first, down to min.
  const isCalm = actions.length === before && members.every((member) => !member.keep || member.state === 'healthy');
  const first = leavers.find((member) => !member.gone && member.state !== 'missing');
  if (missing > 0 && isCalm && first && healthy - (first.state === 'healthy') >= floor) withdraw(first, 'makes room');

  // 4. Surplus tasks go, down to min healthy ones.
  let surplus = keepers.length - desired;
  for (const member of [...keepers].sort(leastUseFirst)) {
    if (surplus <= 0) break;
    if (member.state === 'missing') continue;
    if (MAYBE_HEALTHY.has(member.state) && healthy - (member.state === 'healthy') < floor) continue;
    withdraw(member, `${desired} desired`);
    surplus -= 1;
  }
  return actions;
}

// How a task stands. Health counts only where id, host and issue match; unknown is not critical.
function standing(world, task, lost) {
  if (!world.present.has(task.host)) return lost.has(task.host) ? 'lost' : 'missing';
  const status = world.statuses.get(task.host)?.tasks[task.id];
  if (!status || status.issue !== task.issue) return 'starting';
  if (ENDED.has(status.phase)) return 'failed';
  if (status.phase !== 'running') return 'starting';
  if (status.health === 'unknown') return 'unknown';
  return status.health === 'critical' ? 'sick' : 'healthy';
}

const ORDER = ['failed', 'sick', 'starting', 'unknown', 'healthy', 'missing'];
const leastUseFirst = (one, other) =>
  ORDER.indexOf(one.state) - ORDER.indexOf(other.state) || other.task.instance - one.task.instance;

const retryDelay = (task) => (task.retries ? Math.min(300, 10 * 2 ** (task.retries - 1)) : 0);

// Hosts missing for longer than the patience. When more than a third of the occupied ones are missing, the fault is
// more likely in between: none of them is lost.
function lostHosts(world, now) {
  const occupied = [...new Set(world.tasks.map((task) => task.host))];
  const missing = occupied.filter((host) => !world.present.has(host));
  if (missing.length > 1 && missing.length * 3 > occupied.length) return new Set();
  return new Set(missing.filter((host) => now.missing(host) >= now.patience));
}

// Ids that are in a record or in any host's status: none of them may be given to a new task.
function takenIds(world) {
  const listed = [...world.statuses.values()].flatMap((status) => Object.keys(status.tasks));
  return new Set([...world.tasks.map((task) => task.id), ...listed]);
}

function nextTask({ room, ids, now, cluster }, service, definition, crowd, failed) {
  const place = room.take(definition, crowd, failed ? [failed.host, ...failed.failed_on] : []);
  if (!place) return null;
  let instance = 0;
  const id = () => `${cluster}-${service.name}-${definition.version}-${instance}`;
  while (ids.has(id())) instance += 1;
  ids.add(id());
  return {
    id: id(),
    cluster,
    service: service.name,
    task_name: definition.name,
    task_version: definition.version,
    instance,
    host: place.host,
    ...place.ports,
    ...(service.when_isolated === 'stop' && { stop_isolated_after_s: (now.patience * 2) / 3 }),
    ...(service.discovery_name && { discovery_name: service.discovery_name }),
    memory: definition.memory,
    cpu_units: definition.cpu_units,
    disk: definition.disk ?? 0,
    issue: 0, // the seq of the transaction that issues it
    digest: definition.digest,
    issued_at: now.wall,
    retries: failed ? failed.retries + 1 : 0,
    failed_on: failed ? [...failed.failed_on, failed.host].slice(-5) : [],
    completes: false, // only tasks of a batch do, and those are left alone here
  };
}

// What is free on each host that may take tasks. What stops still holds its place, until its host lists it no more.
class Room {
  constructor(world) {
    this.hosts = [];
    const records = new Set(world.tasks.map((task) => `${task.host}/${task.id}`));
    for (const [name, state] of world.hosts) {
      const config = world.hostConfigs.get(name);
      if (!world.present.has(name) || config?.draining) continue;
      const left = Object.entries(world.statuses.get(name)?.tasks ?? {}).filter(([id]) => !records.has(`${name}/${id}`));
      const held = [...world.tasks.filter((task) => task.host === name), ...left.map(([, status]) => status)];
      this.hosts.push({
        name,
        executors: new Set(state.executors),
        range: config?.port_range ?? state.port_range ?? PORT_RANGE,
        tasks: held.length,
        memory: usable(state.memory, config?.reserved_memory, config?.overcommit_memory_percent) - sum(held, 'memory'),
        cpu: usable(state.cpu_units, config?.reserved_cpu_units, config?.overcommit_cpu_percent) - sum(held, 'cpu_units'),
        disk: usable(state.disk, config?.reserved_disk) - sum(held, 'disk'),
        ports: new Set(held.flatMap((each) => [each.port, ...Object.values(each.ports ?? {})])),
      });
    }
  }

  // The host with the fewest tasks of the service, then the fewest tasks; those to avoid last. null: none has room.
  take(definition, crowd, avoid) {
    const rank = (host) => [avoid.includes(host.name), crowd(host.name), host.tasks];
    const fitting = this.hosts.filter((host) => this.fits(host, definition));
    const best = fitting.sort((one, other) => compare(rank(one), rank(other)))[0];
    if (!best) return null;
    best.tasks += 1;
    best.memory -= definition.memory;
    best.cpu -= definition.cpu_units;
    best.disk -= definition.disk ?? 0;
    return { host: best.name, ports: takePorts(best, definition) };
  }

  fits(host, definition) {
    return (
      definition.containers.every((container) => host.executors.has(container.type)) &&
      (!definition.memory || definition.memory <= host.memory) &&
      (!definition.cpu_units || definition.cpu_units <= host.cpu) &&
      (!definition.disk || definition.disk <= host.disk) &&
      fixedPorts(definition).every((port) => !host.ports.has(port)) &&
      Boolean(takePorts({ ...host, ports: new Set(host.ports) }, definition))
    );
  }
}

// What tasks may be promised in all.
function usable(total = 0, reserved = 0, percent = 100) {
  return Math.floor((Math.max(0, total - reserved) * percent) / 100);
}

function sum(held, what) {
  return held.reduce((total, each) => total + (each[what] ?? 0), 0);
}

// The ports that a task must have and no other.
function fixedPorts(definition) {
  return [definition.port, ...(definition.ports ?? []).map((each) => each.port)].filter(Boolean);
}

// What the record says of ports, given away: the unnamed one, and those with a name (absent if there are none). null: the
// host's range has too few.
function takePorts(host, definition) {
  const named = definition.ports ?? [];
  for (const port of fixedPorts(definition)) host.ports.add(port);
  const port = definition.provide_port ? freePort(host) : definition.port;
  const ports = Object.fromEntries(named.map((each) => [each.name, each.port || freePort(host)]));
  if ((definition.provide_port && !port) || Object.values(ports).includes(0)) return null;
  return named.length ? { port, ports } : { port };
}

function freePort({ range: [first, last], ports }) {
  for (let port = first; port <= last; port += 1) {
    if (ports.has(port)) continue;
    ports.add(port);
    return port;
  }
  return 0;
}

function compare(one, other) {
  const position = one.findIndex((value, index) => value !== other[index]);
  return position < 0 ? 0 : Number(one[position]) - Number(other[position]);
}
