/** The name of this program for users. */
export const PROGRAM: string = 'vsock-proxy';
