/** Request options that are the gateway's own, in every dialect; vendors never see them. */
export const ownFields: readonly string[] = ['models', 'provider', 'routing', 'session_id', 'cache', 'tags', 'sandbox']
