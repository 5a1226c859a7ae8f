/** The end of the body of an HTTP message (RFC 9112 section 6.3). The contract of the data plane uses it, too. */
export type Framing =
  | RequestFraming
  /** At the end of the connection. */
  | { readonly kind: 'eof' };

export type RequestFraming =
  | { readonly kind: 'none' }
  | { readonly kind: 'length'; readonly bytes: number }
  | { readonly kind: 'chunked' };
