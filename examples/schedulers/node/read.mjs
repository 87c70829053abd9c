// Reads the store into one value for plan.mjs, or says why nothing may be concluded from it.
//
// The order matters: marks, then config/, then state/ (which has the marks once more). Unequal marks: a revision was
// applied meanwhile, so read anew. state/ is one listing, so no transaction is seen in half, and it comes last, so that
// health is never older than our own last write.

import { digest } from './plan.mjs';

const KINDS = ['clusters', 'services', 'task_definitions', 'hosts'];
const ATTEMPTS = 5;

export async function read(consul) {
  for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
    const marks = await consul.list('state/sync/');
    const config = await consul.list('config/');
    const state = await consul.list('state/');
    const again = state.filter((entry) => entry.key.startsWith('state/sync/'));
    if (indexes(marks) === indexes(again)) return worldOf(config, state);
  }
  throw new Error('what the sources applied changed during each of several readings');
}

const indexes = (entries) => entries.map((entry) => `${entry.key} ${entry.index}`).join('\n');

export function worldOf(config, state) {
  const doubts = [];
  const under = (entries, prefix) => {
    const found = new Map();
    for (const entry of entries) {
      if (!entry.key.startsWith(prefix)) continue;
      try {
        found.set(entry.key.slice(prefix.length), JSON.parse(entry.text));
      } catch {
        doubts.push(`${entry.key} can't be read`);
      }
    }
    return found;
  };
  const objects = new Map(KINDS.map((kind) => [kind, under(config, `config/${kind}/`)]));
  const sources = under(state, 'state/sync/');
  const doubt =
    sentinelDoubt(under(config, 'config/.store').get(''), under(state, 'state/.store').get('')) ??
    countDoubt(objects, sources) ??
    doubts[0] ??
    null;
  const definitions = objects.get('task_definitions');
  // one key says that no source has moved, but of those whose writer does not know it
  const moved = config.filter((entry) => entry.key === 'config/.moved');
  const isTold = ({ key }) => moved.length > 0 && sources.get(key.slice('state/sync/'.length))?.mark.told;
  const marks = state.filter((entry) => entry.key.startsWith('state/sync/') && !isTold(entry));
  return {
    doubt,
    clusters: objects.get('clusters'),
    services: objects.get('services'),
    definitions: new Map([...definitions].map(([key, each]) => [key, { ...each, digest: digest(each) }])),
    hostConfigs: objects.get('hosts'),
    applying: new Set([...sources].filter(([, source]) => !source.mark.settled).map(([name]) => name)),
    heads: under(state, 'state/clusters/'),
    placement: under(state, 'state/placement').get('')?.seq ?? 0,
    tasks: [...under(state, 'state/tasks/_/').values()].map((task) => ({
      ...{ port: 0, memory: 0, cpu_units: 0, retries: 0, failed_on: [] },
      ...task,
    })),
    hosts: under(state, 'state/hosts/'),
    present: new Set(
      state.filter((each) => each.key.startsWith('state/hosts/') && each.session).map((each) => each.key.slice(12)),
    ),
    statuses: under(state, 'state/status/'),
    unmoved: [...moved, ...marks],
    indexOf: new Map(state.map((entry) => [entry.key, entry.index])),
  };
}

// Both sentinels prove that what we see is there, and is one store. Without them a wiped store, or a token that may not
// read, would look like an operator who wants nothing to run.
function sentinelDoubt(config, state) {
  if (!config || !state) return 'a sentinel is missing (config/.store, state/.store)';
  return config.store_id === state.store_id ? null : 'config/ and state/ belong to two stores';
}

// A settled source says how many objects it has: fewer mean that not all of them were read.
function countDoubt(objects, sources) {
  for (const [name, { mark }] of sources) {
    for (const kind of KINDS) {
      const found = [...objects.get(kind).values()].filter((each) => each.managed_by === name).length;
      if (mark.settled && found < (mark.counts?.[kind] ?? 0)) return `source ${name} has ${mark.counts[kind]} ${kind}, ${found} were read`;
    }
  }
  return null;
}
