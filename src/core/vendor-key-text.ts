/** A key at a vendor, as people write it: what an HTTP header can carry, or the JSON of a credential, spaces and all. */
export const vendorKeyText = {
  pattern: /^(?:[\x21-\x7e]{0,4096}|\s{0,64}\{[\x20-\x7e\s]{0,8192}\}\s{0,64})$/,
  rule: 'must be printable ASCII without spaces, at most 4096 characters, or the JSON of a credential, at most 8192',
}

/** JSON on one line, so that no part of it can break a header; any other key as it is. */
export function oneLineKey(text: string): string {
  if (!/^\s*\{/.test(text)) return text
  try {
    return JSON.stringify(JSON.parse(text))
  } catch {
    return text.replaceAll(/\s+/g, ' ') // It is no JSON: its vendor will refuse it, and says so better.
  }
}
