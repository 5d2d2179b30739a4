# SPDX-License-Identifier: GPL-2.0-or-later
# What programs ask of a processor before they trust it, and the corners that they use: detection by pushf and by
# CPUID, undocumented instructions, real-mode exceptions through the vector table, flags, hlt and delay loops.
	.include "pc.inc"

main:
	# 8086 or 286: flag bits 12-15 are stuck at 1, or at 0 in real mode; a 386 lets bits 12-14 change.
	pushf
	mov	ax, 0x7000
	push	ax
	popf
	pushf
	pop	ax
	popf
	and	ax, 0xf000
	check16	"386-iopl-nt-change", 0x7000
	push	word ptr 0
	popf
	pushf
	pop	ax
	sti
	and	ax, 0xf002
	check16	"popf-of-0", 2
	# 386 or 486: AC. 486 or later: ID.
	pushfd
	pop	ebx
	mov	eax, ebx
	xor	eax, 0x240000
	push	eax
	popfd
	pushfd
	pop	eax
	push	ebx
	popfd
	xor	eax, ebx
	and	eax, 0x240000
	check	"486-ac-id-change", 0x240000
	xor	eax, eax
	cpuid
	cmp	eax, 1
	check_flag "cpuid-leaf-1", ae
	mov	eax, 1
	cpuid
	mov	eax, edx
	and	eax, 1
	check	"cpuid-has-fpu", 1
	# smsw works in real mode, PE is clear; lmsw with PE clear changes nothing that matters.
	smsw	ax
	and	ax, 1
	check16	"smsw-pe", 0
	mov	eax, cr0
	and	eax, 0x80000001
	check	"cr0-real-mode", 0
	# sidt shows the real-mode table: base 0, limit 3FFh.
	sidt	[v0]
	mov	ax, [v0]
	check16	"sidt-limit", 0x3ff
	mov	eax, [v0 + 2]
	check	"sidt-base", 0

	# salc, aam and aad with any base, daa and friends.
	stc
	.byte	0xd6
	check8	"salc-set", 0xff
	clc
	.byte	0xd6
	check8	"salc-clear", 0
	mov	ax, 0x7b
	.byte	0xd4, 16
	check16	"aam-16", 0x070b
	mov	ax, 0x0503
	.byte	0xd5, 7
	check16	"aad-7", 38
	mov	ax, 0x1234
	.byte	0xd5, 0
	check16	"aad-0", 0x0034
	mov	al, 0x79
	add	al, 0x35
	daa
	check8	"daa", 0x14
	mov	al, 0x12
	sub	al, 0x45
	das
	check8	"das", 0x67
	mov	ax, 0x010b
	aaa
	check16	"aaa", 0x0201
	mov	ax, 0x010b
	aas
	check16	"aas", 0x0005
	# Alternative encodings: test /1, shl /6, mov and xchg in the other direction.
	if_tcg	1f			# TCG 7.2 refuses it
	mov	al, 0x81
	.byte	0xf6, 0xc8, 0x80	# test al, 80h
	check_flag "test-slash-1", nz
1:
	mov	al, 0x41
	.byte	0xd0, 0xf0		# sal al, 1 as /6
	check8	"sal-slash-6", 0x82
	.byte	0x82, 0xc0, 0x11	# add al, 11h as 82h
	check8	"opcode-82", 0x93
	# Shift counts are taken mod 32 (286 and later).
	mov	ax, 0x8001
	mov	cl, 33
	shl	ax, cl
	check16	"shift-count-33", 2
	mov	ax, 0x1234
	mov	cl, 20
	shl	ax, cl
	check16	"shl-16-by-20", 0
	mov	ax, 0x1234
	mov	cl, 20
	rol	ax, cl
	check16	"rol-16-by-20", 0x2341
	mov	al, 0x81
	mov	cl, 9
	stc
	rcr	al, cl
	check8	"rcr-8-by-9", 0x81
	# setalc-like tricks with sbb; bt with an offset in a register reaches beyond the operand.
	mov	word ptr [v0], 0
	mov	word ptr [v0 + 2], 0x10
	mov	ax, 20
	bts	[v0], ax
	check_carry "bts-outside-16", 1
	mov	ax, 17
	bts	[v0], ax
	mov	ax, [v0 + 2]
	check16	"bts-memory", 0x12
	# imul flags, div boundaries.
	mov	ax, 0x4000
	mov	dx, 0x4000
	imul	ax, dx, 3
	check_flag "imul-overflow", o
	mov	ax, 0xfffe
	mov	dx, 0x1fff
	mov	cx, 0x2000
	div	cx
	check16	"div-largest", 0xffff

	# Exceptions: vector, and the address that is pushed. #DE points at the div itself.
	set_vector	0, fault0
	set_vector	4, fault4
	set_vector	5, fault5
	set_vector	6, fault6
	set_vector	1, fault1
	set_vector	3, fault3
	set_vector	13, fault13
	xor	cx, cx
	mov	word ptr [resume], offset 1f
site_div:
	div	cl
1:	mov	ax, offset site_div
	mov	dx, [fault_ip]
	sub	ax, dx
	check16	"div-by-0-ip", 0
	check_var16 "div-by-0-vector", fault_no, 0x100
	mov	word ptr [resume], offset 1f
	mov	ax, 0x8000
	mov	dx, 0xffff
	mov	cx, 0xffff
	xor	cx, cx
	dec	cx
	idiv	cx
	jmp	2f
1:	mov	word ptr [v0], 1
2:	check_var16 "idiv-overflow", v0, 1
	mov	al, 0
	mov	word ptr [resume], offset 1f
	.byte	0xd4, 0			# aam 0
1:	check_var16 "aam-0-divides", fault_no, 0x100
	# into: only with OF, and the address behind it.
	mov	word ptr [fault_no], 0
	xor	ax, ax
	into
	check_var16 "into-without-of", fault_no, 0
	mov	al, 0x7f
	add	al, 1
	mov	word ptr [resume], 0
	into
site_into:
	check_var16 "into-vector", fault_no, 0x104
	mov	ax, [fault_ip]
	sub	ax, offset site_into
	check16	"into-ip", 0
	# bound: 5, at the instruction.
	mov	word ptr [v0], 10
	mov	word ptr [v0 + 2], 20
	mov	ax, 20
	mov	word ptr [fault_no], 0
	bound	ax, [v0]
	check_var16 "bound-inside", fault_no, 0
	mov	ax, 21
	mov	word ptr [resume], offset 1f
site_bound:
	bound	ax, [v0]
1:	check_var16 "bound-vector", fault_no, 0x105
	mov	ax, [fault_ip]
	sub	ax, offset site_bound
	check16	"bound-ip", 0
	# int3, int1 (F1h) and int imm: addresses behind them.
	mov	word ptr [resume], 0
	int3
site_int3:
	mov	ax, [fault_ip]
	sub	ax, offset site_int3
	check16	"int3-ip", 0
	check_var16 "int3-vector", fault_no, 0x103
	if_tcg	site_int1_done		# TCG 7.2 stops the machine
	.byte	0xf1
site_int1:
	mov	ax, [fault_ip]
	sub	ax, offset site_int1
	check16	"int1-ip", 0
	check_var16 "int1-vector", fault_no, 0x101
site_int1_done:
	# Not there any more, or not in real mode: #UD.
	.macro	is_ud name, bytes:vararg
	mov	word ptr [fault_no], 0
	mov	word ptr [resume], offset 8f
	.byte	\bytes
8:	check_var16 "ud-\name", fault_no, 0x106
	.endm
	is_ud	loadall286, 0x0f, 0x04, 0x90
	is_ud	ud2, 0x0f, 0x0b
	is_ud	ibts, 0x0f, 0xa6, 0xc0
	is_ud	sldt, 0x0f, 0x00, 0xc0
	is_ud	str, 0x0f, 0x00, 0xc8
	is_ud	lar, 0x0f, 0x02, 0xc0
	is_ud	arpl, 0x63, 0xc0
	if_tcg	1f			# TCG 7.2 does not look at the lock prefix of mov
	is_ud	lock-mov, 0xf0, 0x89, 0xc0
1:
	is_ud	lock-add-register, 0xf0, 0x01, 0xc0
	is_ud	lea-register, 0x8d, 0xc0
	is_ud	les-register, 0xc4, 0xc0
	is_ud	mov-cs, 0x8e, 0xc8
	is_ud	mov-to-cr1, 0x0f, 0x22, 0xc8
	is_ud	group-5-7, 0xff, 0xf8
	# A word at FFFFh crosses the limit: #GP, in ds; #SS in ss goes to 12, a jump's target is not tried here.
	if_tcg	no_limits		# TCG checks no segment limits
	mov	word ptr [fault_no], 0
	mov	word ptr [resume], offset 1f
	mov	bx, 0xffff
	mov	ax, [bx]
1:	check_var16 "word-at-FFFF", fault_no, 0x10d
	mov	word ptr [fault_no], 0
	mov	word ptr [resume], offset 1f
	mov	ebx, 0x10000
	mov	al, [ebx]
1:	check_var16 "offset-beyond-64K", fault_no, 0x10d
no_limits:
	# More than 15 bytes: #GP.
	mov	word ptr [fault_no], 0
	mov	word ptr [resume], offset 1f
	.fill	15, 1, 0x3e
	nop
1:	check_var16 "16-byte-instruction", fault_no, 0x10d
	mov	word ptr [traces], 0
	# Single step: TF set by popf traps after the next instruction.
	mov	word ptr [resume], 0
	mov	word ptr [fault_no], 0
	pushf
	pop	ax
	or	ah, 1
	push	ax
	and	ah, 0xfe
	popf
	nop
site_tf:
	push	ax
	popf
	mov	ax, [trace_ip]
	sub	ax, offset site_tf
	check16	"single-step-ip", 0
	mov	ax, [traces]
	check16	"single-steps", 3
	# mov ss keeps the trap off for one instruction.
	mov	word ptr [traces], 0
	pushf
	pop	ax
	mov	bx, ax
	or	ah, 1
	mov	cx, ss
	push	bx
	push	ax
	popf
	mov	ss, cx
	nop
	popf
	mov	ax, [traces]
	check16	"single-step-and-mov-ss", 2

	# hlt waits for the timer's tick.
	mov	ax, 0x40
	mov	es, ax
	mov	eax, es:[0x6c]
	mov	ebx, eax
1:	hlt
	mov	eax, es:[0x6c]
	sub	eax, ebx
	cmp	eax, 2
	jb	1b
	check_range "hlt-sees-ticks", 2, 50
	# A loop that waits for a tick without hlt, and one that counts itself between two ticks as delay loops do.
	mov	ebx, es:[0x6c]
1:	cmp	ebx, es:[0x6c]
	je	1b
	mov	ebx, es:[0x6c]
	xor	ecx, ecx
1:	inc	ecx
	cmp	ebx, es:[0x6c]
	je	1b
	cmp	ecx, 1000
	check_flag "delay-loop-calibrates", a
	# sti; hlt never loses the interrupt between the two; cli; hlt is not tried.
	mov	cx, 3
1:	cli
	mov	ebx, es:[0x6c]
	sti
	hlt
	loop	1b
	mov	eax, 1
	check	"sti-hlt", 1
	# rdtsc goes up.
	rdtsc
	mov	ebx, eax
	mov	ecx, edx
	rdtsc
	sub	eax, ebx
	sbb	edx, ecx
	mov	eax, edx
	check	"rdtsc-goes-up", 0
	jmp	finish

	# Each handler notes its number and the address that was pushed, and goes to [resume] if that is not 0.
	.macro	fault n
fault\n:
	mov	word ptr cs:[fault_no], 0x100 + \n
	jmp	fault_any
	.endm
	fault	0
	fault	3
	fault	4
	fault	5
	fault	6
	fault	13
fault1:
	inc	word ptr cs:[traces]
	push	bp
	mov	bp, sp
	push	ax
	mov	ax, [bp + 2]
	cmp	word ptr cs:[traces], 1
	jne	1f
	mov	cs:[trace_ip], ax
1:	pop	ax
	pop	bp
	mov	word ptr cs:[fault_no], 0x101
fault_any:
	push	bp
	mov	bp, sp
	push	ax
	mov	ax, [bp + 2]
	mov	cs:[fault_ip], ax
	mov	ax, cs:[resume]
	test	ax, ax
	jz	1f
	mov	[bp + 2], ax
1:	pop	ax
	pop	bp
	iret
	.balign	4
fault_no:
	.word	0
fault_ip:
	.word	0
resume:
	.word	0
traces:
	.word	0
trace_ip:
	.word	0
v0:	.long	0, 0
	PROGRAM_END
