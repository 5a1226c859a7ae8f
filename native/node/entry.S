/*
 * What the executable runs before Node.js, by the hand of scripts/entry.ts. It
 *
 * - says so, and ends with status 1, where the limit on address space is too low for V8, which would die of SIGTRAP;
 * - makes an empty file in memory for the addon, for Node.js can make none. src/dataplane/unnamed.ts finds it by its name.
 *   Where the kernel gives none, there is none: each further call then says EBADF.
 *
 * Then it goes on as if nothing had been. It has no data and no libc. rdx or x0 says what Node.js has to run at its exit, and
 * stays as it is. The last word is the way from here to Node's own entry point.
 */
#include <sys/syscall.h>

#define MFD_CLOEXEC 1
#define MFD_NOEXEC_SEAL 8 /* it is mapped, and not run; what vm.memfd_noexec=2 wants. Linux 6.3 and newer */
#define F_DUPFD_CLOEXEC 1030
#define FIRST_DESCRIPTOR 3 /* a standard stream that is closed must stay so */
#define STDERR 2
#define RLIMIT_AS 9
/* Node.js 24.21 dies below 600 MiB, and from 610 MiB on a proxy listens: x86-64, Linux 6.18. 402 MiB are V8's tables alone. */
#define LEAST_MIB 640

	.text
entry:
#if defined(__x86_64__)
	endbr64
	mov	%rdx, %rbx
	sub	$16, %rsp
	xor	%edi, %edi
	mov	$RLIMIT_AS, %esi
	xor	%edx, %edx
	mov	%rsp, %r10
	mov	$SYS_prlimit64, %eax
	syscall
	mov	(%rsp), %rcx
	add	$16, %rsp
	test	%eax, %eax
	jnz	memory
	shr	$20, %rcx
	cmp	$LEAST_MIB, %rcx
	jae	memory
	mov	$STDERR, %edi
	lea	refusal(%rip), %rsi
	mov	$(refusal_end - refusal), %edx
	mov	$SYS_write, %eax
	syscall
	mov	$1, %edi
	mov	$SYS_exit_group, %eax
	syscall

memory:	lea	name(%rip), %rdi
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
	sub	sp, sp, #16
	mov	w0, #0
	mov	w1, #RLIMIT_AS
	mov	x2, #0
	mov	x3, sp
	mov	w8, #SYS_prlimit64
	svc	#0
	ldr	x4, [sp]
	add	sp, sp, #16
	cbnz	w0, memory
	lsr	x4, x4, #20
	cmp	x4, #LEAST_MIB
	b.hs	memory
	mov	w0, #STDERR
	adr	x1, refusal
	mov	w2, #(refusal_end - refusal)
	mov	w8, #SYS_write
	svc	#0
	mov	w0, #1
	mov	w8, #SYS_exit_group
	svc	#0

memory:	adr	x0, name
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

name:	.asciz	"vsock.node"
#define TEXT(mib) TEXT_OF(mib)
#define TEXT_OF(mib) "Error: \"The limit on address space is below " #mib " MiB, which Node.js reserves, and mostly never uses. "
refusal:
	.ascii	TEXT(LEAST_MIB)
	.ascii	"Hint: raise it (ulimit -v; systemd: LimitAS=); MemoryMax= limits the memory that is in use\"\n"
refusal_end:
	.balign	8
distance:
	.quad	0
