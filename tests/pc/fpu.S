# SPDX-License-Identifier: GPL-2.0-or-later
# The coprocessor as programs of the DOS years use it: detection by fninit and fnstsw, errors as IRQ 13 (CR0.NE = 0) through
# port F0h, EM and TS with their interrupt 7, 16-bit environments and saves.
	.include "pc.inc"

main:
	# Detection: status and control word after fninit, over a pattern.
	mov	word ptr [v0], 0x5a5a
	fninit
	fnstsw	[v0]
	check_var16 "fnstsw-after-fninit", v0, 0
	fnstcw	[v0]
	check_var16 "fnstcw-after-fninit", v0, 0x37f
	# 287 or 387: infinities are affine, +inf and -inf differ.
	fld1
	fldz
	fdivp	st(1), st
	fld	st(0)
	fchs
	fcompp
	fnstsw	ax
	sahf
	check_flag "387-infinities-differ", nz
	# A sum of squares, in integers, reals and BCD.
	fninit
	fldz
	mov	cx, 100
1:	mov	[v0], cx
	fild	word ptr [v0]
	fmul	st, st(0)
	faddp	st(1), st
	loop	1b
	fist	dword ptr [v1]
	check_var "sum-of-squares", v1, 338350
	fbstp	[v2]
	check_var "bcd", v2, 0x338350
	# 16-bit environment in real mode: the code's address is a linear one of 20 bits; here only the words' places.
	fldcw	[control]
	fnstenv	[env]
	check_var16 "environment-control", env, 0x27f
	mov	ax, [env + 4]
	check16	"environment-tags", 0xffff
	fldpi
	fnsave	[env]
	mov	ax, [env + 14 + 8]
	check16	"fnsave-pi-exponent", 0x4000
	fnstsw	ax
	check16	"fnsave-clears", 0
	frstor	[env]
	fistp	dword ptr [v1]
	check_var "frstor", v1, 3

	# Errors by IRQ 13: NE is clear, the handler writes port F0h, sends two EOIs, goes on.
	mov	eax, cr0
	and	al, 0xdf
	mov	cr0, eax
	cli
	mov	eax, [0x75 * 4]
	mov	[old75], eax
	set_vector 0x75, irq13
	in	al, 0xa1
	mov	[mask2], al
	and	al, 0xdf
	out	0xa1, al
	in	al, 0x21
	and	al, 0xfb
	out	0x21, al
	sti
	fninit
	mov	word ptr [v0], 0x37b		# division by zero is not masked
	if_tcg	no_irq13			# QEMU 7.2 fails an assertion of its own there
	fldcw	[v0]
	mov	word ptr [came], 0
	fld1
	fldz
	fdivp	st(1), st
	mov	ecx, 1000000
1:	fwait
	cmp	word ptr [came], 0
	jne	2f
	dec	ecx
	jnz	1b
2:	check_var16 "irq-13-came", came, 1
	mov	ax, [status]
	and	ax, 0x84
	check16	"irq-13-status", 0x84
no_irq13:
	fnclex
	fninit
	# With NE set it is exception 16 instead (which shares its number with the BIOS's int 10h).
	cli
	mov	eax, [0x10 * 4]
	mov	[old10], eax
	mov	byte ptr [con_screen], 0
	set_vector 0x10, fault16
	mov	eax, cr0
	or	al, 0x20
	mov	cr0, eax
	fldcw	[v0]
	mov	word ptr [came], 0
	fld1
	fldz
	fdivp	st(1), st
site:	fwait
	nop
	mov	eax, cr0
	and	al, 0xdf
	mov	cr0, eax
	mov	eax, [old10]
	mov	[0x10 * 4], eax
	mov	byte ptr [con_screen], 1
	sti
	check_var16 "exception-16-came", came, 16
	mov	ax, [fault_ip]
	sub	ax, offset site
	check16	"exception-16-ip", 0
	fninit
	# EM: each escape is interrupt 7, as emulators want it. TS and MP: fwait, too. clts.
	set_vector 7, fault7
	mov	eax, cr0
	mov	[v1], eax
	or	al, 4
	mov	cr0, eax
	mov	word ptr [came], 0
	mov	word ptr [skip], 2
	fld1
	check_var16 "em-escape", came, 7
	mov	eax, [v1]
	and	al, 0xfb
	or	al, 0x0a		# MP, TS
	mov	cr0, eax
	mov	word ptr [came], 0
	mov	word ptr [skip], 1
	fwait
	check_var16 "ts-mp-fwait", came, 7
	mov	word ptr [came], 0
	mov	eax, [v1]
	and	al, 0xfb
	or	al, 0x0a
	mov	cr0, eax
	mov	word ptr [skip], 0		# the handler does clts and lets it run again
	fld1
	check_var16 "ts-escape-clts", came, 7
	fistp	word ptr [v0]
	check_var16 "escape-ran-again", v0, 1
	mov	eax, [v1]
	mov	cr0, eax
	cli
	mov	al, [mask2]
	out	0xa1, al
	mov	eax, [old75]
	mov	[0x75 * 4], eax
	sti
	jmp	finish

irq13:	push	ax
	fnstsw	ax
	mov	cs:[status], ax
	xor	al, al
	out	0xf0, al
	fnclex
	inc	word ptr cs:[came]
	mov	al, 0x20
	out	0xa0, al
	out	0x20, al
	pop	ax
	iret
fault16:
	push	bp
	mov	bp, sp
	push	ax
	mov	ax, [bp + 2]
	mov	cs:[fault_ip], ax
	fnclex
	mov	word ptr cs:[came], 16
	pop	ax
	pop	bp
	iret
fault7:	clts
	push	bp
	mov	bp, sp
	push	ax
	mov	word ptr cs:[came], 7
	mov	ax, cs:[skip]
	add	[bp + 2], ax
	pop	ax
	pop	bp
	iret
	.balign	4
old75:	.long	0
old10:	.long	0
v0:	.long	0
v1:	.long	0
v2:	.long	0, 0, 0
control:
	.word	0x27f
came:	.word	0
status:	.word	0
fault_ip:
	.word	0
skip:	.word	0
mask2:	.byte	0
	.balign	4
env:	.fill	100, 1, 0
	PROGRAM_END
