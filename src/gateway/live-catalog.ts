import type { Catalog } from '../core/catalog.ts'

/** The catalog that calls are served by. */
export interface LiveCatalog {
  current(): Catalog
  /** Resolves once `current` gives what the database had after this was called. Rejects where it cannot be read. */
  reload(): Promise<void>
}

/**
 * Loads the catalog and keeps it. Loads never overlap, so an older one cannot overwrite a newer one; all who ask
 * while one is under way share the next, so that at most one waits.
 */
export async function openCatalog(load: () => Promise<Catalog>): Promise<LiveCatalog> {
  let catalog = await load()
  let running: Promise<void> = Promise.resolve()
  let next: Promise<void> | undefined

  async function loadAfter(before: Promise<void>): Promise<void> {
    // Those who asked for the load before are told of its failure; this one is another.
    await before.catch(() => {})
    next = undefined
    catalog = await load()
  }

  return {
    current: () => catalog,
    reload() {
      next ??= running = loadAfter(running)
      return next
    },
  }
}
