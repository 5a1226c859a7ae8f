/** Why a TLS client is not served, in the only words of TLS that are said to it: RFC 8446 section 6, RFC 6066 section 3. */

const ALERT = 21;
const FATAL = 2;

/** In clear, as everything before a key is agreed on, and in the record version of TLS 1.2, which 1.3 has too. */
function fatal(description: number): Uint8Array {
  return Uint8Array.of(ALERT, 3, 3, 0, 2, FATAL, description);
}

/** The policy does not let it have that server. */
export const ACCESS_DENIED = fatal(49);
/** No server was found by that name, or none was named. */
export const UNRECOGNIZED_NAME = fatal(112);
