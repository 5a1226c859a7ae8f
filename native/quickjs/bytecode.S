// What compile.cc makes of the bundle: BYTECODE is its path.

  .section .rodata
  .globl vsock_enclave_begin
  .globl vsock_enclave_end
  .balign 16
vsock_enclave_begin:
  .incbin BYTECODE
vsock_enclave_end:

  .section .note.GNU-stack, "", %progbits
