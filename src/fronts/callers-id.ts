/** The caller's own id for the call, where it is fit for a log line and a column. */
export function callersId(id: string | undefined): string | undefined {
  return id !== undefined && /^[\x21-\x7e]{1,128}$/.test(id) ? id : undefined
}
