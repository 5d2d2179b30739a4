# SPDX-License-Identifier: GPL-2.0-or-later
# Protected mode as on a 286: entered by lmsw, with 24-bit segment bases, left only by a reset of the processor, after which
# the BIOS jumps to 40:67h because of the shutdown status in the CMOS (0Fh). By every way to reset: keyboard controller,
# port 92h, port CF9h, triple faults. Memory, interrupt controllers and timers must be as they were.
	.include "pc.inc"
	.set	STAGES, 6
	.set	CMOS_SHUTDOWN, 0x8f	# with NMI off

	.macro	cmos_put index, value
	mov	al, \index
	out	0x70, al
	mov	al, \value
	out	0x71, al
	.endm

main:
	mov	ax, 0x2401
	int	0x15
	call	uses_tcg
	mov	[tcg], al
	mov	word ptr [stage], 0

next:	mov	bx, [stage]
	cmp	bx, STAGES * 2
	je	done
	cli
	mov	al, 0xaf		# IRQs 4 and 6 on the first 8259A, 8 and 14 on the other
	out	0x21, al
	mov	al, 0xbe
	out	0xa1, al
	cmos_put CMOS_SHUTDOWN, [codes + bx]
	mov	word ptr [0x467], offset back
	mov	word ptr [0x469], 0
	cmp	byte ptr [codes + bx], 0x0c
	jne	1f
	mov	word ptr [0x467], offset far_return	# here the BIOS pops ip and cs
1:	mov	word ptr [sp_saved], sp
	mov	di, 0x500
	mov	cx, 16
	xor	ax, ax
	rep stosw
	mov	byte ptr [gdt + 0x28 + 5], 0x81	# not busy
	lgdt	[gdtr]
	lidt	[idtr_none]
	mov	ax, 1
	lmsw	ax
	jmp_far	0x10, pm
pm:	mov	ax, 0x08		# base 0
	mov	es, ax
	mov	ss, ax
	mov	sp, 0x7000
	mov	ax, 0x18		# base 210000h
	mov	ds, ax
	mov	word ptr [0x1234], 0x2860
	mov	ax, word ptr [0x1234]
	mov	es:[0x500], ax
	xor	ax, ax			# lmsw does not clear PE
	lmsw	ax
	smsw	ax
	and	ax, 1
	mov	es:[0x502], ax
	mov	ax, 0x20		# a local table, with one segment: base 220000h
	lldt	ax
	sldt	word ptr es:[0x504]
	mov	ax, 0x04
	mov	ds, ax
	mov	word ptr [0x10], 0x7788
	mov	ax, 0x28
	ltr	ax
	str	word ptr es:[0x506]
	mov	ax, 0x08
	lsl	bx, ax
	mov	es:[0x508], bx
	lar	bx, ax
	mov	es:[0x50a], bx
	xor	cx, cx
	mov	ax, 0x18
	verw	ax
	jnz	1f
	inc	cx
1:	mov	ax, 0x10		# code: not writable
	verw	ax
	jz	1f
	inc	cx
1:	verr	ax
	jnz	1f
	inc	cx
1:	mov	es:[0x50c], cx
	# A 286 far call through a 16-bit call gate.
	.byte	0x9a
	.word	0, 0x30
	mov	ax, es
	mov	ds, ax
	mov	bx, [stage]
	cmp	byte ptr [tcg], 0
	je	1f
	mov	eax, cr0		# QEMU's board starts its firmware anew at every reset: out as on a 386
	and	al, 0xfe
	mov	cr0, eax
	jmp_far	0, 2f
2:	push	bx
	xor	bx, bx
	mov	ds, bx
	lidt	[idtr_real]
	pop	bx
	cmos_put CMOS_SHUTDOWN, 0
	cmp	byte ptr [codes + bx], 0x0c
	je	back_by_retf
	jmp	back
1:	jmp	word ptr [bx + methods]

gate_target:
	mov	word ptr es:[0x50e], 0xca11
	retf

by_8042:
	in	al, 0x64
	test	al, 2
	jnz	by_8042
	mov	al, 0xfe
	out	0x64, al
	jmp	stuck
by_92:	in	al, 0x92
	and	al, 0xfe
	out	0x92, al
	or	al, 1
	out	0x92, al
	jmp	stuck
by_cf9:	mov	dx, 0xcf9
	xor	al, al
	out	dx, al
	mov	al, 4			# a soft reset
	out	dx, al
	jmp	stuck
by_empty_idt:
	int3
	jmp	stuck
by_zero_gates:
	lidt	[idtr_zeros]
	ud2
stuck:	hlt
	jmp	stuck

back:	# Real mode, interrupts off, nothing else promised
	mov	al, 0x5a
	jmp	1f
back_by_retf:
	mov	al, 0x5b
1:	mov	dx, cs
	mov	cx, ss
	xor	bx, bx
	mov	ds, bx
	mov	es, bx
	mov	ss, bx
	mov	sp, cs:[sp_saved]
	cld
	mov	[came_by], al
	in	al, 0x21
	check8	"pic-1-mask-kept", 0xaf
	in	al, 0xa1
	check8	"pic-2-mask-kept", 0xbe
	mov	al, 0xb8
	out	0x21, al
	mov	al, 0x8e
	out	0xa1, al
	smsw	ax
	and	ax, 1
	check16	"real-mode-again", 0
	mov	al, CMOS_SHUTDOWN
	out	0x70, al
	in	al, 0x71
	check8	"shutdown-status-used", 0
	mov	al, 0x0d		# NMI on again
	out	0x70, al
	in	al, 0x71
	mov	bx, [stage]
	mov	dl, 0x5a
	cmp	byte ptr [codes + bx], 0x0c
	jne	1f
	mov	dl, 0x5b
1:	movzx	eax, byte ptr [came_by]
	movzx	edx, dl
	check_same "jumped-or-returned"
	mov	eax, [0x500]
	check	"24-bit-base-lmsw", 0x00012860
	mov	eax, [0x504]
	check	"sldt-str", 0x00280020
	mov	eax, [0x508]
	check	"lsl-lar", 0x9300ffff
	mov	eax, [0x50c]
	check	"verw-verr-gate", 0xca110003
	# What was written above 1 MiB is still there: read it by int 15h/87h.
	mov	si, offset move_gdt
	mov	word ptr [si + 0x10], 0xffff
	mov	dword ptr [si + 0x12], 0x93221234 - 0x1224
	mov	word ptr [si + 0x18], 0xffff
	mov	dword ptr [si + 0x1a], 0x93000520
	mov	cx, 1
	mov	ah, 0x87
	int	0x15
	mov	ax, [0x520]
	check16	"extended-memory-kept", 0x7788
	sti				# the timer runs, through the same vector
	mov	eax, [0x46c]
2:	hlt
	cmp	eax, [0x46c]
	je	2b
	mov	eax, 1
	check	"ticks-go-on", 1
	add	word ptr [stage], 2
	jmp	next

done:	mov	ax, 0x2401
	int	0x15
	jmp	finish

uses_tcg:	# al = 1 under QEMU's TCG
	if_tcg	1f
	mov	al, 0
	ret
1:	mov	al, 1
	ret

	.balign 2
stage:	.word	0			# twice the number
sp_saved:
	.word	0
tcg:	.byte	0
came_by:
	.byte	0
	.balign 2
methods:
	.word	by_8042, by_92, by_empty_idt, by_zero_gates, by_cf9, by_8042
codes:	# at twice the number, too
	.byte	0x05, 0, 0x0a, 0, 0x0a, 0, 0x05, 0, 0x0a, 0, 0x0c, 0
far_return:
	.word	back_by_retf, 0
	.balign 8
gdt:	.quad	0
	.word	0xffff, 0x0000, 0x9300, 0	# 08h: base 0, data
	.word	0xffff, 0x0000, 0x9b00, 0	# 10h: base 0, code
	.word	0xffff, 0x0000, 0x9321, 0	# 18h: base 210000h
	.word	7, offset ldt, 0x8200, 0	# 20h
	.word	43, offset tss, 0x8100, 0	# 28h: a 286 task
	.word	offset gate_target, 0x10, 0x8400, 0	# 30h: a 286 call gate
gdt_end:
ldt:	.word	0xffff, 0x0000, 0x9322, 0	# 04h: base 220000h
gdtr:	.word	gdt_end - gdt - 1
	.long	gdt
idtr_none:
	.word	0
	.long	0
idtr_real:
	.word	0x3ff
	.long	0
idtr_zeros:
	.word	0x7ff
	.long	zeros
	.balign 8
move_gdt:
	.skip	48
tss:	.skip	44
zeros:	.skip	0x800
	PROGRAM_END
