export const PROGRAM: string = 'vsock-enclave';
