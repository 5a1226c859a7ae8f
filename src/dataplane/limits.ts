/** The limits of the data plane. native/core/messages.h has the same values, which is checked when it is loaded. */
export const LIMITS = {
  /** Bytes of a request head, or of other first bytes of a client. No more are collected. */
  requestHeadBytes: 16 * 1024,
  /** Bytes of a response head. */
  responseHeadBytes: 64 * 1024,
  /** Interim responses before the final one: RFC 9110 section 15.2. */
  interimResponses: 16,
  /** Cached decisions for each listener and relay thread, and bytes of the head of each. */
  cachedDecisions: 32,
  cachedHeadBytes: 4 * 1024,
  /** Those by an authority. */
  cachedAuthorities: 256,
} as const;
