import * as fs from 'node:fs'
import { dirname } from 'node:path'
import { FleetingMap } from '../core/fleeting.ts'
import type { HoldRecord } from '../ledger/engine/records.ts'
import type { Clock } from '../ports.ts'
import { type BadLine, printLine, readLines } from './journal-lines.ts'

export { noJournal } from './no-journal.ts'

/** The second home of the holds of one process. What was appended survives the process, though not a power cut of the last second. */
export interface Journal {
  /** Writes the hold as it is now before it returns. Throws where it could not. */
  append(hold: HoldRecord): void
  /**
   * Forgets a hold that the books have. It is written before the next hold is, or once this turn of the loop is over:
   * should the process die before, the books are told of the hold again and know that they have it. Throws once the
   * journal is closed.
   */
  drop(id: string): void
  /** Writes everything to the disk and closes the file; nothing may follow. */
  close(): void
}

/** Something about the file that an operator should know; the journal itself goes on where it can. */
export type JournalFault = BadLine | { readonly reason: 'write' | 'sync' | 'compaction'; readonly cause: unknown }

export interface JournalOptions {
  readonly path: string
  readonly clock: Clock
  readonly onFault: (fault: JournalFault) => void
}

/** How much a power cut may lose. A crash of the process alone loses nothing. */
const syncMs = 1_000
const nothing = Buffer.alloc(0)
/** Dropped holds that wait to be written: one line of them is short, and a batch of the books is hardly longer. */
const mostDropped = 1_000
/** A file with nothing alive is emptied above this: often enough to stay small, too rare to matter for speed. */
const emptyAboveBytes = 1024 * 1024
/** A file is written anew above this when less than half of it is alive. */
const compactAboveBytes = 16 * 1024 * 1024
const fileMode = 0o600

/**
 * The holds that a journal leaves alive, in the order in which they were first written. The last line of a hold
 * counts; a torn last line was never answered and is ignored; other lines that cannot be read are reported and skipped.
 * A file that is not there holds nothing.
 */
export function readJournal(path: string, onFault: (fault: BadLine) => void = () => {}): HoldRecord[] {
  const holds = new Map<string, HoldRecord>()
  if (!fs.existsSync(path)) return []
  for (const entry of readLines(path)) {
    if ('reason' in entry) onFault(entry)
    else if ('drop' in entry) [entry.drop].flat().forEach((id) => holds.delete(id))
    else holds.set(entry.hold.id, entry.hold)
  }
  return [...holds.values()]
}

/** The file behind a journal: where it stands, and what of it is alive. */
interface Pages {
  file: number
  bytes: number
  liveBytes: number
  readonly live: FleetingMap<string, { readonly hold: HoldRecord; readonly bytes: number }>
  /** No longer alive, which the file does not say yet. */
  dropped: string[]
  /** A write broke off, so the next one must begin on a line of its own. */
  torn: boolean
  compactAt: number
}

/** What an earlier process has left; a damaged file is kept beside. */
function takeOver({ path, onFault }: JournalOptions): readonly HoldRecord[] {
  let damaged = false
  const holds = readJournal(path, (fault) => {
    damaged = true
    onFault(fault)
  })
  if (damaged) fs.copyFileSync(path, `${path}.damaged`)
  return holds
}

/** A file with just these holds. */
function openPages(path: string, holds: readonly HoldRecord[]): Pages {
  const pages: Pages = {
    file: -1,
    bytes: 0,
    liveBytes: 0,
    live: new FleetingMap(),
    dropped: [],
    torn: false,
    compactAt: compactAboveBytes,
  }
  for (const hold of holds) keep(pages, hold, printLine({ hold }).length)
  pages.file = writeAnew(path, pages)
  return pages
}

/**
 * Opens a journal and reads what an earlier process left in it: `holds`. The file is written anew with just those,
 * so that new lines never follow a torn one; a file with unreadable lines is kept beside it as `….damaged`.
 * One process at a time: the caller guards the folder. Throws where the file cannot be read or written.
 */
export function openJournal(options: JournalOptions): Journal & { readonly holds: readonly HoldRecord[] } {
  const { path, onFault } = options
  const holds = takeOver(options)
  const pages = openPages(path, holds)
  const syncer = createSyncer(options, () => pages.file)
  let stopWriting: (() => void) | undefined
  let closed = false

  function checkOpen(): void {
    if (closed) throw new Error('The journal is closed')
  }
  function write(line: Buffer): void {
    checkOpen()
    try {
      writeLine(pages, pages.dropped.length > 0 ? Buffer.concat([printDropped(pages), line]) : line)
    } catch (cause) {
      onFault({ reason: 'write', cause })
      throw cause
    }
    syncer.soon()
  }
  /** A batch of the books is dropped in one turn of the loop, and written by one line after it. */
  function writeDropped(): void {
    stopWriting?.()
    stopWriting = undefined
    try {
      if (pages.dropped.length > 0) write(nothing)
    } catch {
      // It was told, and the next write tries again.
    }
  }
  function tidy(): void {
    try {
      if (pages.live.size === 0 && pages.bytes > emptyAboveBytes) empty(pages)
      else if (pages.bytes > pages.compactAt && pages.liveBytes * 2 < pages.bytes) compact(path, pages, syncer)
    } catch (cause) {
      // The old file still holds everything; try again when it has grown by as much once more.
      pages.compactAt = pages.bytes + compactAboveBytes
      onFault({ reason: 'compaction', cause })
    }
  }
  return {
    holds,
    append(hold) {
      const line = printLine({ hold })
      write(line)
      keep(pages, hold, line.length)
      tidy()
    },
    drop(id) {
      checkOpen()
      if (!pages.live.has(id)) return
      forget(pages, id)
      pages.dropped.push(id)
      if (pages.dropped.length >= mostDropped) writeDropped()
      else stopWriting ??= options.clock.after(0, writeDropped)
      tidy()
    },
    close() {
      if (closed) return
      writeDropped()
      closed = true
      syncer.close()
    },
  }
}

function keep(pages: Pages, hold: HoldRecord, bytes: number): void {
  pages.liveBytes += bytes - (pages.live.get(hold.id)?.bytes ?? 0)
  pages.live.set(hold.id, { hold, bytes })
}

function forget(pages: Pages, id: string): void {
  pages.liveBytes -= pages.live.get(id)?.bytes ?? 0
  pages.live.delete(id)
}

/** In lines of a bounded length: while the disk is full they are many. */
function printDropped({ dropped }: Pages): Buffer {
  const lines: Buffer[] = []
  for (let at = 0; at < dropped.length; at += mostDropped)
    lines.push(printLine({ drop: dropped.slice(at, at + mostDropped) }))
  return Buffer.concat(lines)
}

/** Writes whole lines, what was dropped among them. */
function writeLine(pages: Pages, lines: Buffer): void {
  const bytes = pages.torn ? Buffer.concat([Buffer.from('\n'), lines]) : lines
  pages.torn = true
  writeAll(pages.file, bytes)
  pages.torn = false
  pages.bytes += bytes.length
  pages.dropped = []
}

/** A write may take less than it is given. */
function writeAll(file: number, bytes: Buffer): void {
  for (let at = 0; at < bytes.length;) at += fs.writeSync(file, bytes, at)
}

function empty(pages: Pages): void {
  fs.ftruncateSync(pages.file, 0)
  Object.assign(pages, { bytes: 0, torn: false, dropped: [] })
}

function compact(path: string, pages: Pages, syncer: Syncer): void {
  const old = pages.file
  pages.file = writeAnew(path, pages)
  syncer.release(old)
}

/** Writes what is alive to a new file and puts it in the old one's place at one stroke. Returns the open file. */
function writeAnew(path: string, pages: Pages): number {
  const { O_WRONLY, O_CREAT, O_TRUNC, O_APPEND } = fs.constants
  const fresh = `${path}.new`
  fs.rmSync(fresh, { force: true })
  const file = fs.openSync(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND, fileMode)
  try {
    let bytes = 0
    for (const { hold } of pages.live.values()) {
      const line = printLine({ hold })
      writeAll(file, line)
      bytes += line.length
    }
    fs.fsyncSync(file)
    fs.renameSync(fresh, path)
    syncFolder(dirname(path))
    Object.assign(pages, { bytes, torn: false, dropped: [], compactAt: compactAboveBytes })
    return file
  } catch (error) {
    fs.closeSync(file)
    throw error
  }
}

/** A rename is on the disk only when its folder is. */
function syncFolder(folder: string): void {
  const file = fs.openSync(folder, 'r')
  try {
    fs.fsyncSync(file)
  } finally {
    fs.closeSync(file)
  }
}

interface Syncer {
  /** Brings the file to the disk within `syncMs`, off the event loop. */
  soon(): void
  /** Closes a file that is no longer written, once no sync of it is under way. */
  release(file: number): void
  close(): void
}

function createSyncer({ clock, onFault }: JournalOptions, current: () => number): Syncer {
  let cancel: (() => void) | undefined
  let syncing: number | undefined
  let waiting: number[] = []

  function sync(): void {
    cancel = undefined
    if (syncing !== undefined) return soon()
    const file = current()
    syncing = file
    fs.fsync(file, (cause) => {
      syncing = undefined
      if (cause) onFault({ reason: 'sync', cause })
      const released = waiting
      waiting = []
      released.forEach((each) => fs.closeSync(each))
    })
  }
  function soon(): void {
    cancel ??= clock.after(syncMs, sync)
  }
  function release(file: number): void {
    if (syncing === file) waiting.push(file)
    else fs.closeSync(file)
  }
  function close(): void {
    cancel?.()
    fs.fsyncSync(current())
    release(current())
  }
  return { soon, release, close }
}
