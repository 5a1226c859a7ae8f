/** The most of each that the data plane takes or keeps; native/core/messages.h has the same, which is checked when it is loaded. */
export const LIMITS = {
  /** Bytes of a request head, or of what else a client sends first: beyond them no more is collected. */
  requestHeadBytes: 16 * 1024,
  /** The same of a response head. */
  responseHeadBytes: 64 * 1024,
  /** Interim responses before the final one: RFC 9110 section 15.2. */
  interimResponses: 16,
  /** Cached decisions, for each listener and relay thread, and bytes of the head that one is about. */
  cachedDecisions: 32,
  cachedHeadBytes: 4 * 1024,
} as const;
