/** What our credential at a vendor would have to become for a call cannot be had: its operator has to act. */
export class CredentialRefused extends Error {
  constructor(message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause })
    this.name = 'CredentialRefused'
  }
}
