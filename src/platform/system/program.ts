/** What users call this program. */
export const PROGRAM: string = 'vsock-proxy';
