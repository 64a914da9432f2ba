import type { AddressRange } from './core/address.ts'
import type { AccountLimits, Budget, BudgetWindow, JsonObject, UsageRecord } from './core/call.ts'
import type { Catalog } from './core/catalog.ts'
import type { KeepAliveRules } from './core/keep-alive.ts'
import type { Nanos } from './core/money.ts'
import type { Counts } from './core/price.ts'
import type { RateLimit } from './core/rate-limit.ts'
import type { KeyRouting } from './core/routing.ts'
import type { Share, ShareAsk, SharedLimit, TierLimits } from './core/shared-limit.ts'
import type { SlotAsk, SlotShare } from './core/shared-slots.ts'
import type { TokenAsset } from './core/tokens.ts'
import type { ClaimReply, Command, OtherEpoch, ReplyTo } from './ledger/engine/commands.ts'
import type { AccountRecord, KeyRecord } from './ledger/engine/records.ts'

/** Every seam to the outside, types only. `platform/` makes them real, `entry/` chooses. */

export interface Clock {
  /** Milliseconds since 1970. It may jump; what has a date asks it. */
  now(): number
  /** Milliseconds since some moment. It never goes back; intervals are measured with it. */
  elapsed(): number
  /** Calls `run` once after `ms`; the result stops it. */
  after(ms: number, run: () => void): () => void
}

/** One line of the log: a fixed event name and plain fields. Never a secret, a prompt or a query parameter. */
export type Log = (event: string, fields?: Readonly<Record<string, unknown>>) => void

/** The engine's records, and the one atomic step that works on them. */
export interface Shared {
  run<C extends Command>(command: C): Promise<ReplyTo<C> | OtherEpoch>
  /** Holds whose deadline has passed, hidden from other sweepers for `hideMs`. */
  claim(limit: number, hideMs: number): Promise<ClaimReply>
  /** The account as the engine sees it now, for showing what is held; undefined where it is not loaded. */
  account(accountId: number): Promise<AccountRecord | undefined>
  /** A key's counters, likewise. */
  key(accountId: number, keyId: number): Promise<KeyRecord | undefined>
  /** Who spends for an account here, as the books name it. */
  spenderOf(accountId: number): string
  /**
   * Starts an epoch that the books have opened for a spender, and gives the one that stands then; 0 for none. Nothing
   * changes where a later one stands, or where this one stood before the store lost what it knew. With 0 it only asks.
   */
  begin(spender: string, epoch: number): Promise<number>
  /** Lends this replica its shares of limits over accounts, one answer for each; see core/shared-limit.ts. */
  shares(asks: readonly ShareAsk[]): Promise<readonly Share[]>
  /** Lends it slots of limits of calls at once, likewise; see core/shared-slots.ts. */
  slots(asks: readonly SlotAsk[]): Promise<readonly SlotShare[]>
  /** False while the store is known not to answer for an account. */
  reaches(accountId: number): boolean
}

export interface VendorRequest {
  readonly method: 'GET' | 'POST'
  /** Absolute; its origin comes from configuration, never from a caller. */
  readonly url: string
  readonly headers: Readonly<Record<string, string>>
  readonly body: Uint8Array
  readonly connectMs: number
  /** Parameters of the caller that were left out, as he is told: `x-tollgate-dropped-params`. */
  readonly dropped?: readonly string[]
  /** What stands in for a key that is not sent itself; made when the request is sent, because it needs the time. */
  readonly proof?: Proof
}

/** How a request proves who sends it, where its vendor takes no key as it is. */
export type Proof = Signature | TokenGrant

/** Every request is signed. */
export interface Signature {
  readonly kind: 'signature'
  /** The headers that it adds. Throws CredentialRefused (core/credential-refused.ts) for what cannot be signed. */
  headers(request: VendorRequest, nowMs: number, digest: Digest): Readonly<Record<string, string>>
}

/** A token is asked for with an assertion that is signed, and serves many requests as their bearer token. */
export interface TokenGrant {
  readonly kind: 'token'
  /** Equal grants share one token. It is a secret like the key that it is made of. */
  readonly id: string
  /** What is signed: header and claims of a JWT, each in base64url, with a dot between them. */
  assertion(nowMs: number): string
  /** PKCS #8 in PEM; the signature is RS256. */
  readonly privateKey: string
  /** What the token is asked for with; `signed` is the assertion and its signature. */
  request(signed: string): VendorRequest
  /** Undefined for an answer without one. */
  token(body: JsonObject): AccessToken | undefined
}

export interface AccessToken {
  readonly text: string
  /** From now on. */
  readonly lifeMs: number
}

/** Hashes for signatures; a text stands for its UTF-8. */
export interface Digest {
  sha256(data: Uint8Array | string): Uint8Array
  hmacSha256(key: Uint8Array | string, data: string): Uint8Array
}

/** What proofs are made with. */
export interface Proving {
  readonly digest: Digest
  /** RSASSA-PKCS1-v1_5 with SHA-256, in base64url without padding. Rejects for a key that is none. */
  signRs256(privateKey: string, text: string): Promise<string>
}

export interface VendorHead {
  readonly status: number
  /** Lower-case names. */
  readonly headers: Readonly<Record<string, string>>
}

/** Hears one vendor's answer. After `end` or `fail` nothing more comes. */
export interface Receiver {
  head(head: VendorHead): void
  data(chunk: Uint8Array): void
  end(): void
  /** The connection could not be made, broke, or was aborted. */
  fail(error: Error): void
}

export interface Sending {
  pause(): void
  resume(): void
  abort(): void
}

/** Sends a request to a vendor. Callbacks, not streams: a chunk costs one call. The first comes after it returned. */
export type Send = (request: VendorRequest, receiver: Receiver) => Sending

/** Counts the tokens of a text. Bounded for any input; long texts are counted off the event loop. */
export interface Tokenizer {
  /** Name and version, as usage records carry it. */
  readonly name: string
  count(text: string): Promise<number>
  /** The sum over many texts, where that costs less than asking for each. */
  countAll?(texts: readonly string[]): Promise<number>
  close(): Promise<void>
}

/** The caller's side of one call. */
export interface Client {
  header(name: string): string | undefined
  /** The whole body; throws `request_too_large` beyond `limit` bytes and `request_timeout` when it does not come. */
  body(limit: number): Promise<Uint8Array>
  /** Hung up, before or during the answer. Not called after `end`. */
  onGone(run: () => void): void
  readonly gone: boolean
  open(status: number, headers: Readonly<Record<string, string>>): void
  /**
   * The status went out before anybody called `open`, which now changes nothing: an error can only be told in the
   * answer. Absent: it did not.
   */
  isEarly?(): boolean
  /** False when the caller does not keep up: wait for `onDrain`. */
  write(bytes: Uint8Array): boolean
  onDrain(run: () => void): void
  end(bytes?: Uint8Array): void
  /** Breaks the connection. */
  destroy(): void
}

/** A row of the chain of keys as the books have it, leaf first. */
export interface KeyRow {
  readonly id: number
  readonly publicId: string
  readonly kind: 'master' | 'sub' | 'management'
  readonly accountId: number | undefined
  readonly parentId: number | undefined
  readonly name: string
  /** HMAC-SHA256 of the whole key under the gateway's secret, hex. */
  readonly hash: string
  readonly version: number
  readonly models: readonly string[] | undefined
  readonly budgets: readonly Budget[]
  readonly requestsPerMinute: number | undefined
  readonly concurrency: number | undefined
  /** Further limits by time; absent: none. */
  readonly limits?: readonly RateLimit[]
  /** How targets are put in order for its calls; absent: as their models say. */
  readonly routing?: KeyRouting
  readonly expiresAtMs: number | undefined
  readonly revokedAtMs: number | undefined
}

export interface AccountRow extends AccountLimits {
  readonly id: number
  readonly currency: string
  readonly discountPpm: number
  readonly status: 'open' | 'closed'
}

export interface LeaseRequest {
  readonly purse: number
  /** `TOK` where the purse counts in micro-tokens. */
  readonly asset?: TokenAsset
  readonly spender: string
  readonly epoch: number
  /** At least this much, if there is any. */
  readonly want: Nanos
  /**
   * In what the purse counts. Without it all that is free is lent, which is right where one process is the only spender.
   * With it the larger of this and `want` is lent, but of what is free no more than half unless more is wanted.
   */
  readonly target?: Nanos
}

/** What can pay for calls now: the wallet, or a grant of credit, of a quota's period, or of a package's tokens. */
export interface Purse {
  readonly id: number
  readonly kind: 'wallet' | 'credit' | 'quota' | 'package'
  /** The account's currency, or `TOK` for micro-tokens. */
  readonly asset: string
  /** Patterns of public model names that it pays for; none: all. */
  readonly models: readonly string[]
  readonly expiresAtMs: number | undefined
  /** All that is posted to it, in nano-units or micro-tokens: what is free and what is lent. */
  readonly posted: bigint
}

/**
 * A loan: `lent` is the total under this lease, so that hearing of it twice adds nothing. Asking twice is not the same:
 * each request lends out of what is free then, whether or not the answer to one before it came.
 */
export interface Lease {
  readonly id: number
  readonly lent: Nanos
}

/** A replica lives, and what it may still charge to what it was lent. */
export interface Beat {
  readonly replica: string
  /** By lease: the sum of the parts of all holds and all unflushed records of this replica. */
  readonly outstanding: ReadonlyMap<number, bigint>
  /**
   * The time of the books that the beat before returned, ms since 1970: `outstanding` was summed after it. Only a lease
   * that was frozen earlier is vouched for, because a beat may be long under way. Absent in the first beat.
   */
  readonly asOfMs?: number
}

/** What became of a record that was sent to the books. `total` is what they charge for the id, over all its rows. */
export interface Flushed {
  readonly id: string
  readonly total: Nanos
}

/** What an account has, in nano-units. */
export interface Balance {
  /** All that was posted to its purses: what is free and what is lent to spenders. */
  readonly posted: Nanos
}

/** What the caller may read of a call. Money in nano-units. */
export interface Receipt {
  readonly id: string
  readonly keyId: number
  readonly outcome: string
  readonly model: string
  readonly vendor: string
  readonly vendorModel: string
  readonly servedModel: string | undefined
  /** Served with, as the vendor says; and the least prompt of the length tier that priced the call. */
  readonly serviceTier: string | undefined
  readonly lengthTier: number | undefined
  readonly counts: Counts
  readonly source: string
  readonly tokenizer: string | undefined
  readonly anomalies: readonly string[]
  readonly priced: Nanos
  /** Over all rows of the call: the settle, later adjustments, refunds. */
  readonly charge: Nanos
  readonly currency: string
  readonly stream: boolean
  readonly startedAtMs: number
  readonly endedAtMs: number
  readonly firstByteMs: number | undefined
  readonly finish: string | undefined
  readonly error: string | undefined
  readonly clientRequestId: string | undefined
  readonly attempts: readonly {
    readonly vendor: string
    readonly model: string
    readonly status: number
    readonly error: string | undefined
    readonly ms: number
  }[]
}

/** Whose call is asked for, and with which key. `id` is a UUIDv7. */
export interface ReceiptOf {
  readonly accountId: number
  readonly keyId: number
  readonly id: string
}

/** The durable books as the data plane sees them. Postgres and PGlite make them real; a Map does for trial runs. */
export interface Books {
  /** The key with this hash and every key above it, leaf first, and its account. Undefined where there is none. */
  findKey(
    hash: string,
  ): Promise<{ readonly chain: readonly KeyRow[]; readonly account: AccountRow | undefined } | undefined>
  /**
   * The purses of an account that can pay now, in burn order. The grant of a quota's current period is made here when
   * it is missing; a used-up one stays in the list until its period ends, so that its end is known.
   */
  purses(accountId: number): Promise<readonly Purse[]>
  /**
   * What a key and every key below it have spent in the period that starts at `sinceMs`; under the id of an account's
   * own counters (`accountKeyId`), what all keys of the account have.
   */
  spent(keyId: number, window: BudgetWindow, sinceMs: number): Promise<Nanos>
  /**
   * A new epoch for a spender: all its earlier leases are frozen. Returns the epoch; 0, and nothing has changed, where
   * `after` is given and is not its latest: of those who look at once, one opens.
   */
  openEpoch(spender: string, after?: number): Promise<number>
  /** The latest epoch of a spender; 0 where it has had none. */
  epochOf(spender: string): Promise<number>
  /** Gives what is left of the frozen leases of a spender back. Call it when no record of them is outstanding. */
  closeLeases(spender: string): Promise<void>
  /**
   * Gives back what is left of frozen leases, of any spender, but for what living replicas say is outstanding on them:
   * once all of them have beaten since the freeze, or 45 s after it. A lease on which nothing is outstanding is closed.
   * The epochs of replicas that are presumed dead end here too. Any number of replicas may call it, as often as they like.
   */
  closeFrozen(): Promise<void>
  /**
   * Every 3 s, and once before the first call is taken. A replica that was not seen for 120 s is presumed dead. Returns
   * the time of the books, ms since 1970, for the next beat's `asOfMs`.
   */
  beat(beat: Beat): Promise<number>
  /**
   * Lends from a purse. Of a grant that has ended nothing more is lent. Throws StaleEpoch (core/stale-epoch.ts) where the
   * epoch is not the newest of its spender.
   */
  lend(request: LeaseRequest): Promise<Lease>
  /** Stores records. Sending one again changes nothing. */
  flush(records: readonly UsageRecord[]): Promise<readonly Flushed[]>
  /** Of these calls those that the books know, with what they charge for each. */
  booked(ids: readonly string[]): Promise<readonly Flushed[]>
  /** Undefined where there is no such account. */
  balance(accountId: number): Promise<Balance | undefined>
  /** One call of an account, made with this key or one below it; a master key sees every call of its account. */
  receipt(of: ReceiptOf): Promise<Receipt | undefined>
}

/** Bytes that are kept for a while, by names that hold no secret. All of it may be gone at any moment. */
export interface Cache {
  /** For the log. */
  readonly kind: string
  /** Undefined where nothing is kept, or no longer. Rejects where the store does not answer. */
  get(name: string): Promise<Uint8Array | undefined>
  /** Keeps bytes for so long at most; what is too large for the store is not kept. Rejects as `get` does. */
  set(name: string, bytes: Uint8Array, ttlMs: number): Promise<void>
}

/** What stands under the name of a call that must happen once. */
export type Standing =
  /** Nothing stood there, or a call that was taken for dead: it is the asker's now. */
  | { readonly state: 'yours' }
  | { readonly state: 'running'; readonly digest: string }
  | { readonly state: 'answered'; readonly digest: string; readonly answer: Uint8Array }

/** Calls that must happen once, and what they were answered; durable where the store is. Every method may reject. */
export interface Repeats {
  /** Takes a name for `leaseMs`, or tells what stands there. `owner` names the call, `digest` what it asks for. */
  begin(
    name: string,
    call: { readonly owner: string; readonly digest: string; readonly leaseMs: number },
  ): Promise<Standing>
  /** The call still runs. */
  extend(name: string, owner: string, leaseMs: number): Promise<void>
  /** The call was answered. Nothing changes where another has the name by now. */
  keep(name: string, call: { readonly owner: string; readonly digest: string }, kept: KeptAnswer): Promise<void>
  /** The call came to nothing: the name is free again. */
  free(name: string, owner: string): Promise<void>
}

export interface KeptAnswer {
  readonly answer: Uint8Array
  readonly ttlMs: number
}

/** Tells all gateways that something has changed which they may have a copy of. */
export interface News {
  /** Lost where the store is away; then the copies' own age is what ends them. Never rejects. */
  tell(topic: string): void
}

/** Secrets and ids. */
export interface Crypto {
  /** Keyed hash of a key, hex; equal keys have equal hashes. */
  keyHash(key: string): string
  /** Compares in constant time. */
  equal(a: string, b: string): boolean
  uuidv7(nowMs: number): string
  /** `length` characters of [A-Za-z0-9]. */
  secret(length: number): string
}

/** Encrypts what has to be kept and is never shown. A service that keeps keys may stand behind it. */
export interface Seal {
  /** `about` is bound to it: what was sealed for one row opens in no other. */
  seal(text: string, about: string): string
  /** Undefined for what was sealed with another secret, for something else, or was changed since. */
  open(sealed: string, about: string): string | undefined
  /** The same text sealed with what is used now, where it was sealed with an earlier secret that still opens it. */
  reseal(sealed: string, about: string): Resealed
}

export type Resealed =
  | { readonly state: 'current' }
  | { readonly state: 'resealed'; readonly sealed: string }
  | { readonly state: 'unreadable' }

/** How calls are held and served; every number of the data plane that an operator may set. */
export interface Settings {
  /** Names this process in holds and logs. */
  readonly replica: string
  /** Largest request body, bytes. */
  readonly bodyLimit: number
  /** Largest unstreamed vendor answer, bytes. */
  readonly answerLimit: number
  /** Output tokens that a first hold covers at most; it grows while the stream runs. */
  readonly firstOutputTokens: number
  /** The most that a first hold sets aside, nano-units; absent: no cap. */
  readonly holdCap?: Nanos
  /** A hold is the reaper's when it was not checkpointed for this long. */
  readonly termMs: number
  readonly checkpointMs: number
  /** A caller who reads nothing for this long is taken as gone. */
  readonly stallMs: number
  /** Absent: a caller hears nothing until there is something to say. */
  readonly keepAlive?: KeepAliveRules
  /** Limits over accounts; absent: none. */
  readonly limits?: LimitSettings
  /** Whose word is believed about the address of a caller; absent: nobody's. */
  readonly trustedProxies?: readonly AddressRange[]
}

export interface LimitSettings {
  readonly tiers: ReadonlyMap<string, TierLimits>
  readonly shared: readonly SharedLimit[]
}

/** Everything a stage may use of the world outside. */
export interface Platform {
  readonly clock: Clock
  readonly log: Log
  readonly books: Books
  readonly send: Send
  readonly tokenizer: Tokenizer
  readonly crypto: Crypto
  readonly settings: Settings
  /** The catalog of this moment. */
  catalog(): Catalog
  /** Work that outlives the answer; awaited before the process ends. It must not reject. */
  later(work: Promise<unknown>): void
}
