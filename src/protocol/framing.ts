/** Where the body of an HTTP message ends (RFC 9112 section 6.3); of the data plane's contract, too. */
export type Framing =
  | RequestFraming
  /** At the end of the connection. */
  | { readonly kind: 'eof' };

export type RequestFraming =
  | { readonly kind: 'none' }
  | { readonly kind: 'length'; readonly bytes: number }
  | { readonly kind: 'chunked' };
