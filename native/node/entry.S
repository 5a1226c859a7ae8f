/*
 * What the executable runs before Node.js: it makes an empty file in memory for the addon, for Node.js can make none itself,
 * and goes on as if nothing had been. src/dataplane/memory.ts finds the file by its name. Where the kernel gives none, there
 * is none: each further call then says EBADF. scripts/entry.ts puts this code into the executable.
 *
 * It has no data, no stack and no libc. rdx or x0 says what Node.js has to run at its exit, and stays as it is. The last word
 * is the way from here to Node's own entry point.
 */
#include <sys/syscall.h>

#define MFD_CLOEXEC 1
#define MFD_NOEXEC_SEAL 8 /* it is mapped, and not run; what vm.memfd_noexec=2 wants. Linux 6.3 and newer */
#define F_DUPFD_CLOEXEC 1030
#define FIRST_DESCRIPTOR 3 /* a standard stream that is closed must stay so */

	.text
entry:
#if defined(__x86_64__)
	endbr64
	mov	%rdx, %rbx
	lea	name(%rip), %rdi
	mov	$(MFD_CLOEXEC | MFD_NOEXEC_SEAL), %esi
	mov	$SYS_memfd_create, %eax
	syscall
	test	%eax, %eax
	jns	1f
	mov	$MFD_CLOEXEC, %esi
	mov	$SYS_memfd_create, %eax
	syscall
1:	mov	%eax, %edi
	mov	$F_DUPFD_CLOEXEC, %esi
	mov	$FIRST_DESCRIPTOR, %edx
	mov	$SYS_fcntl, %eax
	syscall
	mov	$SYS_close, %eax
	syscall
	mov	%rbx, %rdx
	lea	entry(%rip), %rax
	add	distance(%rip), %rax
	jmp	*%rax
#elif defined(__aarch64__)
	hint	34 /* bti c */
	mov	x9, x0
	adr	x0, name
	mov	w1, #(MFD_CLOEXEC | MFD_NOEXEC_SEAL)
	mov	w8, #SYS_memfd_create
	svc	#0
	tbz	w0, #31, 1f
	adr	x0, name
	mov	w1, #MFD_CLOEXEC
	svc	#0
1:	mov	w10, w0
	mov	w1, #F_DUPFD_CLOEXEC
	mov	w2, #FIRST_DESCRIPTOR
	mov	w8, #SYS_fcntl
	svc	#0
	mov	w0, w10
	mov	w8, #SYS_close
	svc	#0
	mov	x0, x9
	adr	x16, entry
	ldr	x17, distance
	add	x16, x16, x17
	br	x16
#else
#error This machine has no entry yet.
#endif

name:
	.asciz	"vsock.node"
	.balign	8
distance:
	.quad	0
