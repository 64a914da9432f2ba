/** How a key that a service has wrapped is made plain: by a program that reads it and writes the plain one, or by a post. */
export type Unwrap =
  | { readonly kind: 'command'; readonly command: readonly string[] }
  | { readonly kind: 'url'; readonly url: string; readonly authorization?: string }

/** What vendors' keys are encrypted with, as a service has wrapped it. */
export interface KeySealing {
  readonly unwrap: Unwrap
  /** Newest first: what is encrypted is so by the first, and each of them opens what it has encrypted. */
  readonly wrapped: readonly string[]
}
