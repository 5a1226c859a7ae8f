/** What tells one text from another. */

/** Of a text in UTF-8, in hexadecimal digits. */
export function sha256(text: string): string {
  return process.getBuiltinModule('node:crypto').hash('sha256', text, 'hex'); // loaded when somebody asks, which few do
}
