/** Where the body of an HTTP message ends (RFC 9112 section 6.3). */
export type Framing =
  | { readonly kind: 'none' }
  | { readonly kind: 'length'; readonly bytes: number }
  | { readonly kind: 'chunked' }
  /** At the end of the connection: of responses only. */
  | { readonly kind: 'eof' };
