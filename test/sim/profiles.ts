/** Chances per virtual second that something breaks, and how badly. */
export interface Profile {
  readonly name: string
  /** Processes on one Redis; 0: one that serves the books alone. */
  readonly replicas: number
  readonly kill: number
  readonly pause: number
  readonly booksOutage: number
  readonly lostAnswers: number
  readonly hangUps: number
  readonly skew: number
  readonly topUps: number
  readonly revocations: number
  /** Grants that end within seconds. */
  readonly grants: number
  readonly priceChanges: number
  /** Redis is started anew: with all it had, with what it had up to a second ago, with nothing. */
  readonly redisKilled: number
  readonly redisRolledBack: number
  readonly redisWiped: number
  /** Redis is away for a while, for all replicas, or for one. */
  readonly redisOutage: number
  readonly partition: number
  /** Shares of the messages to and from Redis that are lost, come twice, or are late. */
  readonly network: number
}

const calm: Profile = {
  name: 'calm',
  replicas: 0,
  kill: 0,
  pause: 0,
  booksOutage: 0,
  lostAnswers: 0,
  hangUps: 0,
  skew: 0,
  topUps: 0,
  revocations: 0,
  grants: 0,
  priceChanges: 0,
  redisKilled: 0,
  redisRolledBack: 0,
  redisWiped: 0,
  redisOutage: 0,
  partition: 0,
  network: 0,
}
const usual = { hangUps: 0.1 }
const shared: Profile = { ...calm, ...usual, replicas: 3 }

export const profiles: readonly Profile[] = [
  calm,
  { ...calm, name: 'hang-ups', hangUps: 0.3 },
  { ...calm, ...usual, name: 'kill', kill: 0.1 },
  { ...calm, ...usual, name: 'pause', pause: 0.08 },
  { ...calm, ...usual, name: 'outage', booksOutage: 0.05 },
  { ...calm, ...usual, name: 'lost answers', lostAnswers: 0.1 },
  { ...calm, ...usual, name: 'clock', skew: 0.1 },
  { ...calm, ...usual, name: 'top-ups', topUps: 0.3 },
  { ...calm, ...usual, name: 'revocations', revocations: 0.1 },
  { ...calm, ...usual, name: 'grants', grants: 0.2 },
  { ...calm, ...usual, name: 'price changes', priceChanges: 0.2 },
  { ...calm, ...usual, name: 'kill and outage', kill: 0.1, booksOutage: 0.05 },
  {
    ...calm,
    name: 'everything',
    kill: 0.1,
    pause: 0.05,
    booksOutage: 0.05,
    lostAnswers: 0.1,
    hangUps: 0.2,
    skew: 0.05,
    topUps: 0.1,
    revocations: 0.05,
    grants: 0.05,
    priceChanges: 0.05,
  },
  { ...shared, name: 'replicas' },
  { ...shared, name: 'replicas: kill', kill: 0.1 },
  { ...shared, name: 'replicas: pause', pause: 0.08 },
  { ...shared, name: 'replicas: outage', booksOutage: 0.05 },
  { ...shared, name: 'replicas: network', network: 0.03 },
  { ...shared, name: 'replicas: partition', partition: 0.08 },
  { ...shared, name: 'replicas: Redis killed', redisKilled: 0.05 },
  { ...shared, name: 'replicas: Redis rolled back', redisRolledBack: 0.05 },
  { ...shared, name: 'replicas: Redis wiped', redisWiped: 0.05 },
  { ...shared, name: 'replicas: Redis outage', redisOutage: 0.04 },
  { ...shared, name: 'replicas: money', topUps: 0.2, grants: 0.1, revocations: 0.05, priceChanges: 0.1 },
  { ...shared, name: 'replicas: kill and Redis wiped', kill: 0.1, redisWiped: 0.03 },
  { ...shared, name: 'replicas: pause and outage', pause: 0.05, booksOutage: 0.04 },
  { ...shared, name: 'replicas: Redis outage and outage', redisOutage: 0.03, booksOutage: 0.04 },
  {
    ...shared,
    name: 'replicas: everything',
    kill: 0.05,
    pause: 0.04,
    booksOutage: 0.03,
    lostAnswers: 0.05,
    hangUps: 0.2,
    skew: 0.05,
    topUps: 0.1,
    revocations: 0.03,
    grants: 0.05,
    priceChanges: 0.05,
    redisKilled: 0.01,
    redisRolledBack: 0.01,
    redisWiped: 0.01,
    redisOutage: 0.02,
    partition: 0.03,
    network: 0.01,
  },
]

/** Whether what is in Redis may be lost or out of reach. */
export function isRedisShaky(profile: Profile): boolean {
  const { redisKilled, redisRolledBack, redisWiped, redisOutage, partition, network } = profile
  return [redisKilled, redisRolledBack, redisWiped, redisOutage, partition, network].some((chance) => chance > 0)
}
