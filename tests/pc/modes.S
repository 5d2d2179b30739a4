# SPDX-License-Identifier: GPL-2.0-or-later
# Mode switches: unreal mode, 16- and 32-bit protected mode and back, a DOS extender's way of serving interrupts from
# protected mode through the real-mode BIOS, the real mode that keeps protected mode's segments.
	.include "pc.inc"

main:
	# Protected mode and straight back with a 4 GiB limit in ds, es, fs, gs: unreal mode.
	cli
	lgdt	[gdtr]
	mov	eax, cr0
	or	al, 1
	mov	cr0, eax
	jmp	1f
1:	mov	bx, 0x08
	mov	ds, bx
	mov	es, bx
	mov	fs, bx
	mov	gs, bx
	and	al, 0xfe
	mov	cr0, eax
	jmp	1f
1:	xor	ax, ax
	mov	ds, ax
	mov	es, ax
	mov	fs, ax
	mov	gs, ax
	sti
	call	a20_on
	mov	ebx, 0x200000
	mov	dword ptr [ebx], 0x12345678
	mov	eax, [ebx]
	check	"unreal-write-read", 0x12345678
	# The base changes by a real-mode load, the limit stays.
	mov	ax, 0x1000
	mov	ds, ax
	mov	eax, [ebx - 0x10000]
	check	"unreal-base-changes", 0x12345678
	mov	dword ptr [0], 0xabcd
	xor	ax, ax
	mov	ds, ax
	mov	esi, 0x10000
	mov	eax, [esi]
	check	"unreal-16-bit-offset", 0xabcd
	# String instructions with 32-bit addresses: a megabyte up and back.
	mov	edi, 0x300000
	mov	ecx, 0x10000
	mov	eax, 0x5a5aa5a5
	addr32 rep stosd
	mov	eax, edi
	check	"unreal-rep-stosd", 0x340000
	mov	esi, 0x33fffc
	mov	eax, [esi]
	check	"unreal-rep-stosd-end", 0x5a5aa5a5
	mov	esi, 0x300000
	mov	edi, 0x500000
	mov	ecx, 0x4000
	addr32 rep movsd
	mov	eax, [edi - 4]
	check	"unreal-rep-movsd", 0x5a5aa5a5
	# Interrupts and BIOS calls leave it alone; int 15h/87h may put the limits back in es and ds, fs keeps.
	mov	ah, 0
	int	0x1a
	mov	eax, fs:[ebx]
	check	"unreal-after-int-1a", 0x12345678
	# Code with a big stack address in real mode: esp's upper half is not used by push.
	mov	esi, esp
	mov	esp, 0x00057a00
	push	word ptr 0x77
	mov	eax, esp
	mov	esp, esi
	check	"push-keeps-esp-high", 0x579fe
	mov	ax, [0x79fe]
	check16	"push-uses-sp", 0x77

	# 16-bit protected mode; segment bases apart; back to real mode.
	cli
	lgdt	[gdtr]
	lidt	[idtr_none]
	mov	[save_sp], sp
	mov	eax, cr0
	or	al, 1
	mov	cr0, eax
	jmp_far	0x10, pm16
pm16:	mov	ax, 0x18
	mov	ds, ax			# base 20000h, limit FFFFh
	mov	ax, 0x20
	mov	ss, ax			# base 0, 64 KiB
	mov	es, ax
	mov	sp, 0x7000
	mov	word ptr [0x10], 0xfeed
	mov	ax, cs
	mov	es:[v0], ax
	mov	ax, ds
	mov	es:[v0 + 2], ax
	smsw	ax
	and	ax, 1
	mov	es:[v1], ax
	push	word ptr 0x4321
	mov	eax, 0x99990000
	mov	esp, 0x88886ffe
	pop	ax
	mov	es:[v1 + 2], ax
	mov	es:[v2], esp
	mov	eax, cr0
	and	al, 0xfe
	mov	cr0, eax
	# Still protected mode's cs until the jump; ds has base 20000h until it is loaded.
	mov	cx, ds:[0x10]
	jmp_far	0, 1f
1:	mov	dx, ds:[0x10]
	xor	ax, ax
	mov	ss, ax
	mov	esp, 0
	mov	sp, cs:[save_sp]
	mov	ds, ax
	mov	es, ax
	lidt	[idtr_real]
	sti
	check_var	"pm16-cs-ds", v0, 0x00180010
	check_var	"pm16-smsw-pop", v1, 0x43210001
	check_var	"pm16-sp-only", v2, 0x88887000
	movzx	eax, cx
	check	"hidden-ds-after-pe-clear", 0xfeed
	movzx	eax, dx
	check	"hidden-ds-after-jump", 0xfeed

	# 32-bit protected mode; limits are checked there (expand-down stack, short segment), vectors through an IDT.
	cli
	lgdt	[gdtr]
	lidt	[idtr_pm]
	mov	[save_sp], sp
	mov	eax, cr0
	or	al, 1
	mov	cr0, eax
	.byte	0x66, 0xea
	.long	pm32
	.word	0x28
	.code32
pm32:	mov	ax, 0x08
	mov	ds, ax
	mov	es, ax
	mov	ax, 0x38
	mov	ss, ax			# expand-down: 10000h..FFFFFFFFh
	mov	esp, 0x90000
	push	0x11223344
	mov	eax, [0x8fffc]
	mov	[v0], eax
	mov	dword ptr [fault_no], 0
	mov	dword ptr [fault_resume], offset 1f
	mov	eax, ss:[0x8000]	# below the limit: #SS
	jmp	2f
1:	mov	eax, [fault_no]
	mov	[v1], eax
2:	mov	ax, 0x40
	mov	fs, ax			# 10h bytes
	mov	dword ptr [fault_no], 0
	mov	dword ptr [fault_resume], offset 1f
	mov	eax, fs:[0xc]
	mov	eax, fs:[0xd]		# #GP
	jmp	2f
1:	mov	eax, [fault_no]
	mov	[v2], eax
2:	mov	dword ptr [fault_no], 0
	mov	dword ptr [fault_resume], offset 1f
	mov	ax, 0x48
	mov	gs, ax			# not present: #NP
	jmp	2f
1:	mov	eax, [fault_no]
	mov	[v3], eax
	mov	eax, [fault_code]
	mov	[v3 + 4], eax
2:	# Down again by the book: 16-bit segments first, then PE.
	mov	dword ptr [v4], 0x600df00d
	mov	ax, 0x20
	mov	ds, ax
	mov	es, ax
	mov	fs, ax
	mov	gs, ax
	mov	ss, ax
	ljmp	0x10, offset 1f
	.code16
1:	mov	eax, cr0
	and	al, 0xfe
	mov	cr0, eax
	jmp_far	0, 1f
1:	xor	ax, ax
	mov	ds, ax
	mov	es, ax
	mov	fs, ax
	mov	gs, ax
	mov	ss, ax
	movzx	esp, word ptr [save_sp]
	lidt	[idtr_real]
	sti
	check_var	"expand-down-push", v0, 0x11223344
	if_tcg	1f			# TCG checks no segment limits
	check_var	"expand-down-limit", v1, 0x10c
	check_var	"short-segment-limit", v2, 0x10d
1:
	check_var	"not-present", v3, 0x10b
	check_var	"not-present-code", v3 + 4, 0x48
	check_var	"pm32-ran", v4, 0x600df00d
	# Unreal mode is over: the limits of ds are 64 KiB now. (TCG does not check limits.)
	if_tcg	1f
	set_vector 13, real_gp
	mov	word ptr [fault_no], 0
	mov	ebx, 0x200000
	mov	eax, [ebx]
	nop
	nop
	nop
	check_var16 "limits-are-back", fault_no, 0x20d
1:
	# Many switches in turn, with work in both: what an extender does at each DOS call.
	mov	word ptr [v0], 0
	mov	cx, 500
1:	push	cx
	cli
	lgdt	[gdtr]
	mov	[save_sp], sp
	mov	eax, cr0
	or	al, 1
	mov	cr0, eax
	.byte	0x66, 0xea
	.long	2f
	.word	0x28
	.code32
2:	mov	ax, 0x08
	mov	ds, ax
	mov	ss, ax
	mov	esp, 0x90000
	call	3f
	jmp	4f
3:	add	dword ptr [v0], 3
	ret
4:	mov	ax, 0x20
	mov	ss, ax
	mov	ds, ax
	ljmp	0x10, offset 5f
	.code16
5:	mov	eax, cr0
	and	al, 0xfe
	mov	cr0, eax
	jmp_far	0, 6f
6:	xor	ax, ax
	mov	ds, ax
	mov	es, ax
	mov	ss, ax
	movzx	esp, word ptr [save_sp]
	sti
	pop	cx
	loop	1b
	check_var16 "500-round-trips", v0, 1500

	# An extender: in protected mode IRQ 0 (moved to 50h) is reflected to the real-mode BIOS: switch down, call the
	# vector there with flags pushed, switch up, iret. The BIOS's tick counter shows that it works.
	mov	eax, [0x46c]
	mov	[v1], eax
	cli
	lgdt	[gdtr]
	lidt	[idtr_ext]
	mov	[save_sp], sp
	mov	al, 0x50
	call	remap_master
	mov	word ptr [v0], 0
	mov	eax, cr0
	or	al, 1
	mov	cr0, eax
	.byte	0x66, 0xea
	.long	ext32
	.word	0x28
	.code32
ext32:	mov	ax, 0x08
	mov	ds, ax
	mov	es, ax
	mov	ss, ax
	mov	esp, 0x90000
	sti
1:	inc	dword ptr [v2]
	cmp	word ptr [v0], 4
	jb	1b
	# A BIOS call from here, through the same door: int 10h/0Fh gives mode and columns.
	mov	eax, 0x0f00
	mov	ecx, 0x10
	call	real_int
	mov	[v3], eax
	cli
	mov	ax, 0x20
	mov	ss, ax
	mov	ds, ax
	ljmp	0x10, offset 1f

# IRQ 0 in protected mode.
ext_irq0:
	pushad
	push	ds
	mov	ax, 0x08
	mov	ds, ax
	inc	word ptr [v0]
	mov	ecx, 8
	call	real_int
	pop	ds
	popad
	iretd

# ecx = number of the interrupt, eax goes in and comes out. Interrupts are off on the way, on inside as the BIOS likes.
real_int:
	pushfd
	cli
	mov	[call_eax], eax
	mov	[call_no], ecx
	mov	[pm_esp], esp
	mov	ax, 0x20
	mov	ds, ax
	mov	es, ax
	mov	ss, ax
	ljmp	0x10, offset 2f
	.code16
2:	mov	eax, cr0
	and	al, 0xfe
	mov	cr0, eax
	jmp_far	0, 3f
3:	xor	ax, ax
	mov	ds, ax
	mov	es, ax
	mov	ss, ax
	mov	esp, 0x7000
	lidt	[idtr_real]
	mov	bx, [call_no]
	shl	bx, 2
	mov	eax, [call_eax]
	pushf
	call	dword ptr [bx]		# as `int` does it
	cli
	xor	bx, bx
	mov	ds, bx
	mov	[call_eax], eax
	lgdt	[gdtr]
	lidt	[idtr_ext]
	mov	eax, cr0
	or	al, 1
	mov	cr0, eax
	.byte	0x66, 0xea
	.long	4f
	.word	0x28
	.code32
4:	mov	ax, 0x08
	mov	ds, ax
	mov	es, ax
	mov	ss, ax
	mov	esp, [pm_esp]
	mov	eax, [call_eax]
	popfd
	ret
	.code16
1:	mov	eax, cr0
	and	al, 0xfe
	mov	cr0, eax
	jmp_far	0, 1f
1:	xor	ax, ax
	mov	ds, ax
	mov	es, ax
	mov	ss, ax
	movzx	esp, word ptr [save_sp]
	lidt	[idtr_real]
	mov	al, 8
	call	remap_master
	sti
	mov	eax, [0x46c]
	sub	eax, [v1]
	check_range "reflected-ticks", 4, 200
	mov	eax, [v3]
	check16	"reflected-int-10h", 0x5003
	# Ticks go on.
	mov	eax, [0x46c]
1:	cmp	eax, [0x46c]
	je	1b
	mov	eax, 1
	check	"ticks-go-on", 1

	# Real mode with the vector table elsewhere: lidt with another base.
	cli
	xor	si, si
	mov	ax, 0x9000
	mov	es, ax
	xor	di, di
	mov	cx, 512
	rep	movsw
	mov	word ptr es:[0x66 * 4], offset moved66
	mov	word ptr es:[0x66 * 4 + 2], 0
	xor	ax, ax
	mov	es, ax
	lidt	[idtr_moved]
	sti
	int	0x66
	mov	dx, ax
	mov	eax, [0x46c]
1:	cmp	eax, [0x46c]
	je	1b
	cli
	lidt	[idtr_real]
	sti
	mov	ax, dx
	check16	"moved-vector-table", 0x6666
	# Real mode after a jump with a 16-bit code segment whose base is not 16 * cs is over at the next far jump.
	jmp	finish

moved66:
	mov	ax, 0x6666
	iret
real_gp:
	mov	word ptr cs:[fault_no], 0x20d
	push	bp
	mov	bp, sp
	add	word ptr [bp + 2], 3
	pop	bp
	iret

a20_on:	in	al, 0x92
	or	al, 2
	and	al, 0xfe
	out	0x92, al
	ret

# al = first vector of the master PIC.
remap_master:
	push	ax
	in	al, 0x21
	mov	ah, al
	mov	al, 0x11
	out	0x20, al
	pop	cx
	mov	al, cl
	out	0x21, al
	mov	al, 4
	out	0x21, al
	mov	al, 1
	out	0x21, al
	mov	al, ah
	out	0x21, al
	ret

	.code32
pm_fault12:
	mov	dword ptr [fault_no], 0x10c
	jmp	1f
pm_fault11:
	mov	dword ptr [fault_no], 0x10b
	jmp	1f
pm_fault13:
	mov	dword ptr [fault_no], 0x10d
1:	push	eax
	mov	eax, [esp + 4]
	mov	[fault_code], eax
	mov	eax, [fault_resume]
	mov	[esp + 8], eax
	pop	eax
	add	esp, 4
	iretd
	.code16

	.balign	8
gdt:	.quad	0
	.quad	0x00cf92000000ffff	# 08: data, 4 GiB
	.quad	0x00009a000000ffff	# 10: code, 16-bit, 64 KiB
	.quad	0x000092020000ffff	# 18: data at 20000h, 64 KiB
	.quad	0x000092000000ffff	# 20: data at 0, 64 KiB
	.quad	0x00cf9a000000ffff	# 28: code, 32-bit, 4 GiB
	.quad	0x00009a020000ffff	# 30: code, 16-bit, at 20000h
	.quad	0x00c096000000000f	# 38: data, expand-down above FFFFh
	.quad	0x004092000000000f	# 40: data, 16 bytes
	.quad	0x00cf12000000ffff	# 48: not present
gdt_end:
gdtr:	.word	gdt_end - gdt - 1
	.long	gdt
idtr_real:
	.word	0x3ff
	.long	0
idtr_none:
	.word	0
	.long	0
idtr_moved:
	.word	0x3ff
	.long	0x90000
	.balign	8
	.macro	gate handler
	.word	\handler - 0, 0x28, 0x8e00, 0
	.endm
idt_pm:	.fill	11, 8, 0
	gate	pm_fault11
	gate	pm_fault12
	gate	pm_fault13
idt_pm_end:
idtr_pm:
	.word	idt_pm_end - idt_pm - 1
	.long	idt_pm
	.balign	8
idt_ext:
	.fill	0x50, 8, 0
	gate	ext_irq0
idt_ext_end:
idtr_ext:
	.word	idt_ext_end - idt_ext - 1
	.long	idt_ext
	.balign	4
save_sp:
	.word	0, 0
fault_no:
	.long	0
fault_code:
	.long	0
fault_resume:
	.long	0
call_eax:
	.long	0
call_no:
	.long	0
pm_esp:	.long	0
v0:	.long	0
v1:	.long	0
v2:	.long	0
v3:	.long	0, 0
v4:	.long	0
	PROGRAM_END
