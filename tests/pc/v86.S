# SPDX-License-Identifier: GPL-2.0-or-later
# A memory manager in the manner of EMM386: virtual-8086 mode under an own monitor, with paging. The monitor runs the BIOS and
# a DOS-like program at CPL 3: it reflects interrupts and faults to the vector table of the task, emulates cli, sti, pushf,
# popf, int, iret, in, out and hlt, maps a page frame (EMS) and memory above 1 MiB into upper memory, and leaves by a call.
	.include "pc.inc"
	.set	PAGES, 0x80000		# directory, then a table for 4 MiB, at 80000h
	.set	RING0, 0x8f000

main:
	in	al, 0x92
	or	al, 2
	and	al, 0xfe
	out	0x92, al
	# What the EMS frame will show: two pages at 2 MiB and 2 MiB + 4 KiB.
	cli
	lgdt	[gdtr]
	lidt	[idtr_pm]
	mov	eax, cr0
	or	al, 1
	mov	cr0, eax
	.byte	0x66, 0xea
	.long	enter32
	.word	0x08

	.code32
enter32:
	mov	ax, 0x10
	mov	ds, ax
	mov	es, ax
	mov	ss, ax
	mov	esp, RING0
	mov	dword ptr [0x200000], 0x11111111
	mov	dword ptr [0x201000], 0x22222222
	mov	edi, PAGES
	xor	eax, eax
	mov	ecx, 2048
	rep	stosd
	mov	dword ptr [PAGES], PAGES + 0x1000 + 7
	mov	edi, PAGES + 0x1000
	mov	eax, 7
	mov	ecx, 1024
1:	stosd
	add	eax, 0x1000
	loop	1b
	mov	dword ptr [PAGES + 0x1000 + 0xd0 * 4], 0x200007	# D0000h: the frame
	and	dword ptr [PAGES + 0x1000 + 0xd8 * 4], 0xfffffffe	# D8000h: not there
	mov	eax, PAGES
	mov	cr3, eax
	mov	eax, cr0
	or	eax, 0x80000000
	mov	cr0, eax
	mov	ax, 0x18
	ltr	ax
	# Into virtual-8086 mode at v86_start, IOPL 0.
	push	0
	push	0
	push	0
	push	0
	push	0			# ss
	push	0x7000
	push	0x20002			# IF clear: the interrupt controllers are not remapped yet
	push	0
	push	offset v86_start
	iretd

# ---- the monitor ----

	.macro	stub n
stub_\n:
	.if	\n != 8 && (\n < 10 || \n > 14)
	push	0
	.endif
	push	\n
	jmp	monitor
	.endm
	.irp	n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
	stub	\n
	.endr
	.irp	n, 32, 33, 34, 35, 36, 37, 38, 39, 40, 41, 42, 43, 44, 45, 46, 47
	stub	\n
	.endr

	# Frame from ebp: pushad, then number, code, eip, cs, eflags, esp, ss, es, ds, fs, gs.
	.set	F_NO, 32
	.set	F_CODE, 36
	.set	F_IP, 40
	.set	F_CS, 44
	.set	F_FL, 48
	.set	F_SP, 52
	.set	F_SS, 56
monitor:
	pushad
	mov	ebp, esp
	mov	ax, 0x10
	mov	ds, ax
	mov	es, ax
	mov	eax, [ebp + F_NO]
	cmp	eax, 32
	jae	irq
	cmp	eax, 13
	je	general
	cmp	eax, 14
	je	page
	cmp	eax, 6
	jne	1f
	mov	ebx, [ebp + F_CS]
	shl	ebx, 4
	add	ebx, [ebp + F_IP]
	cmp	word ptr [ebx], 0xff0f
	je	g_leave
1:	# Everything else goes to the task.
	call	reflect
	jmp	back
irq:	inc	dword ptr [irqs]
	test	dword ptr [ebp + F_FL], 0x20000
	jnz	1f
	mov	[pending], eax		# it came to the monitor, which waits in g_hlt
	jmp	back
1:	call	reflect_irq
	jmp	back
reflect_irq:	# eax = our vector
	sub	eax, 24			# 32..39 are 8..15 of the BIOS
	cmp	eax, 16
	jb	reflect
	add	eax, 0x70 - 16
	jmp	reflect
page:	inc	dword ptr [page_faults]
	mov	eax, cr2
	mov	[fault_address], eax
	mov	ecx, [ebp + F_CODE]
	mov	[fault_code], ecx
	mov	dword ptr [PAGES + 0x1000 + 0xd8 * 4], 0x201007	# demand paging
	jmp	back
back:	popad
	add	esp, 8
	iretd

# eax = vector: an interrupt of the task. Changes eax, ecx, edx, esi.
reflect:
	mov	edx, [ebp + F_SS]
	shl	edx, 4
	mov	ecx, [ebp + F_FL]
	and	ecx, 0xfffffdff
	cmp	byte ptr [virtual_if], 0
	je	1f
	or	ecx, 0x200
1:	sub	word ptr [ebp + F_SP], 2
	movzx	esi, word ptr [ebp + F_SP]
	mov	[edx + esi], cx
	sub	word ptr [ebp + F_SP], 2
	movzx	esi, word ptr [ebp + F_SP]
	mov	ecx, [ebp + F_CS]
	mov	[edx + esi], cx
	sub	word ptr [ebp + F_SP], 2
	movzx	esi, word ptr [ebp + F_SP]
	mov	ecx, [ebp + F_IP]
	mov	[edx + esi], cx
	movzx	ecx, word ptr [eax * 4]
	mov	[ebp + F_IP], ecx
	movzx	ecx, word ptr [eax * 4 + 2]
	mov	[ebp + F_CS], ecx
	mov	byte ptr [virtual_if], 0
	and	dword ptr [ebp + F_FL], 0xfffffcff
	ret

general:
	inc	dword ptr [general_faults]
	mov	ebx, [ebp + F_CS]
	shl	ebx, 4
	add	ebx, [ebp + F_IP]
	mov	edi, 1			# length
	xor	edx, edx		# operand size prefix
	movzx	eax, byte ptr [ebx]
	cmp	al, 0x66
	jne	1f
	inc	edx
	inc	ebx
	inc	edi
	movzx	eax, byte ptr [ebx]
1:	cmp	al, 0xfa
	je	g_cli
	cmp	al, 0xfb
	je	g_sti
	cmp	al, 0x9c
	je	g_pushf
	cmp	al, 0x9d
	je	g_popf
	cmp	al, 0xcd
	je	g_int
	cmp	al, 0xcf
	je	g_iret
	cmp	al, 0xf4
	je	g_hlt
	mov	eax, 6			# anything else is refused: the task sees an invalid opcode
	call	reflect
	jmp	back
g_cli:	mov	byte ptr [virtual_if], 0
	and	dword ptr [ebp + F_FL], 0xfffffdff
	jmp	g_next
g_sti:	mov	byte ptr [virtual_if], 1
	or	dword ptr [ebp + F_FL], 0x200
g_next:	add	[ebp + F_IP], di
	jmp	back
g_pushf:
	mov	esi, [ebp + F_SS]
	shl	esi, 4
	mov	eax, [ebp + F_FL]
	and	eax, 0x00000dff
	cmp	byte ptr [virtual_if], 0
	je	1f
	or	eax, 0x200
1:	test	edx, edx
	jnz	2f
	sub	word ptr [ebp + F_SP], 2
	movzx	ecx, word ptr [ebp + F_SP]
	mov	[esi + ecx], ax
	jmp	g_next
2:	sub	word ptr [ebp + F_SP], 4
	movzx	ecx, word ptr [ebp + F_SP]
	mov	[esi + ecx], eax
	jmp	g_next
g_popf:	mov	esi, [ebp + F_SS]
	shl	esi, 4
	movzx	ecx, word ptr [ebp + F_SP]
	movzx	eax, word ptr [esi + ecx]
	add	word ptr [ebp + F_SP], 2
	test	edx, edx
	jz	1f
	add	word ptr [ebp + F_SP], 2
1:	call	set_flags
	jmp	g_next
set_flags:	# eax: the task's word of flags
	test	eax, 0x200
	setnz	byte ptr [virtual_if]
	and	eax, 0xfd7
	and	dword ptr [ebp + F_FL], 0xfffff000
	or	[ebp + F_FL], eax
	or	dword ptr [ebp + F_FL], 0x20002
	ret
g_int:	add	word ptr [ebp + F_IP], 2
	movzx	eax, byte ptr [ebx + 1]
	inc	dword ptr [ints]
	call	reflect
	jmp	back
g_iret:	mov	esi, [ebp + F_SS]
	shl	esi, 4
	movzx	ecx, word ptr [ebp + F_SP]
	movzx	eax, word ptr [esi + ecx]
	mov	[ebp + F_IP], eax
	add	cx, 2
	movzx	eax, word ptr [esi + ecx]
	mov	[ebp + F_CS], eax
	add	cx, 2
	movzx	eax, word ptr [esi + ecx]
	add	cx, 2
	mov	[ebp + F_SP], cx
	call	set_flags
	jmp	back
g_hlt:	inc	dword ptr [halts]
	add	[ebp + F_IP], di
	mov	dword ptr [pending], 0
1:	sti				# wait here; the interrupt comes to the monitor at ring 0 and back
	hlt
	cli
	mov	eax, [pending]
	test	eax, eax
	jz	1b
	call	reflect_irq
	jmp	back
# 0F FF: a service of the monitor. ah = 0: leave to real mode; 1: map page al of EMS memory into the frame at D0000h.
g_leave:
	add	word ptr [ebp + F_IP], 2
	mov	eax, [ebp + 28]
	cmp	ah, 1
	jne	leave_v86
	movzx	eax, al
	shl	eax, 12
	add	eax, 0x200007
	mov	[PAGES + 0x1000 + 0xd0 * 4], eax
	mov	eax, cr3
	mov	cr3, eax
	jmp	back
leave_v86:
	mov	ax, 0x28
	mov	ds, ax
	mov	es, ax
	mov	fs, ax
	mov	gs, ax
	mov	ss, ax
	ljmp	0x20, offset 1f
	.code16
1:	mov	eax, cr0
	and	eax, 0x7ffffffe
	mov	cr0, eax
	jmp_far	0, back_real
back_real:
	xor	eax, eax
	mov	ds, ax
	mov	es, ax
	mov	fs, ax
	mov	gs, ax
	mov	ss, ax
	mov	cr3, eax
	mov	esp, 0x7c00
	lidt	[idtr_real]
	mov	bl, 8
	mov	bh, 0x70
	call	remap
	sti
	jmp	after

# ---- the task ----

v86_start:
	cli
	mov	bl, 32
	mov	bh, 40
	call	remap
	smsw	ax
	and	ax, 1
	check16	"v86-smsw-shows-pe", 1
	pushf
	pop	ax
	and	ax, 0x7200
	check16	"pushf-if-clear", 0
	sti
	pushf
	pop	ax
	and	ax, 0x7200
	check16	"pushf-if-set", 0x200
	pushfd
	pop	eax
	and	eax, 0x30200
	check	"pushfd-no-vm", 0x200
	# BIOS calls, through the monitor's int.
	mov	ah, 0x0f
	int	0x10
	check8	"v86-int-10h", 3
	int	0x12
	movzx	eax, ax
	check_range "v86-int-12h", 600, 640
	# The timer's ticks, reflected.
	mov	eax, [0x46c]
1:	cmp	eax, [0x46c]
	je	1b
	mov	eax, [0x46c]
	mov	cx, 2
1:	hlt
	cmp	eax, [0x46c]
	je	1b
	mov	eax, [0x46c]
	loop	1b
	mov	eax, 1
	check	"v86-ticks", 1
	# A floppy sector through the BIOS with DMA and IRQ 6: the identity mapping serves it.
	mov	ax, 0x0201
	mov	bx, 0x1000
	mov	cx, 0x0003
	mov	dx, 0
	int	0x13
	check_carry "v86-int-13h", 0
	mov	eax, [0x1000]
	mov	edx, [0x8000]
	check_same "v86-int-13h-data"
	# Faults of the task: division, invalid opcode.
	set_vector 0, v86_de
	set_vector 6, v86_ud
	mov	word ptr [seen], 0
	xor	cx, cx
	div	cx
	check_var16 "v86-div-by-0", seen, 1
	mov	word ptr [seen], 0
	ud2
	check_var16 "v86-ud2", seen, 2
	# The EMS frame: two pages by turns, many times, with code in one of them.
	mov	ax, 0xd000
	mov	es, ax
	mov	eax, es:[0]
	check	"ems-page-0", 0x11111111
	mov	ax, 0x0101
	.byte	0x0f, 0xff
	mov	eax, es:[0]
	check	"ems-page-1", 0x22222222
	mov	cx, 200
	xor	bp, bp
1:	mov	ah, 1
	mov	al, cl
	and	al, 1
	.byte	0x0f, 0xff
	mov	byte ptr es:[0x100], 0x45	# inc bp
	mov	byte ptr es:[0x101], 0xcb
	test	cl, 1
	jz	2f
	mov	byte ptr es:[0x100], 0x4d	# dec bp in page 1
2:	call_far 0xd000, 0x100
	loop	1b
	mov	ax, bp
	check16	"ems-code-by-turns", 0
	# Demand paging at D8000h: the monitor maps page 1 there.
	mov	ax, 0xd800
	mov	es, ax
	mov	eax, es:[0]
	check	"upper-memory-on-demand", 0x22222222
	check_var "page-fault-address", fault_address, 0xd8000
	check_var "page-fault-code", fault_code, 4
	check_var "page-faults", page_faults, 1
	# Self-modifying code in the task.
	mov	byte ptr [1f + 1], 0x77
1:	mov	al, 0
	check8	"v86-self-modifying", 0x77
	# Video memory directly, and an iret of the task to another place.
	pushf
	push	cs
	push	offset 1f
	iret
	nop
1:	mov	eax, 1
	check	"v86-iret", 1
	xor	ax, ax
	cli
	.byte	0x0f, 0xff

after:	mov	eax, [0x46c]
1:	cmp	eax, [0x46c]
	je	1b
	cmp	dword ptr [ints], 0
	check_flag "monitor-served-ints", nz
	cmp	dword ptr [irqs], 3
	check_flag "monitor-served-irqs", ae
	cmp	dword ptr [halts], 1
	check_flag "monitor-served-hlt", ae
	jmp	finish

v86_de:	mov	word ptr cs:[seen], 1
	jmp	1f
v86_ud:	mov	word ptr cs:[seen], 2
1:	push	bp
	mov	bp, sp
	add	word ptr [bp + 2], 2	# div cx and ud2 have two bytes
	pop	bp
	iret

# bl, bh: first vectors of the PICs.
remap:
	in	al, 0x21
	mov	cl, al
	in	al, 0xa1
	mov	ch, al
	mov	al, 0x11
	out	0x20, al
	out	0xa0, al
	mov	al, bl
	out	0x21, al
	mov	al, bh
	out	0xa1, al
	mov	al, 4
	out	0x21, al
	mov	al, 2
	out	0xa1, al
	mov	al, 1
	out	0x21, al
	out	0xa1, al
	mov	al, cl
	out	0x21, al
	mov	al, ch
	out	0xa1, al
	ret

	.balign	8
gdt:	.quad	0
	.quad	0x00cf9a000000ffff	# 08: code, 32-bit
	.quad	0x00cf92000000ffff	# 10: data
	.word	tss_end - tss - 1, tss, 0x8900, 0	# 18: task state
	.quad	0x00009a000000ffff	# 20: code, 16-bit
	.quad	0x000092000000ffff	# 28: data, 64 KiB
gdt_end:
gdtr:	.word	gdt_end - gdt - 1
	.long	gdt
idtr_real:
	.word	0x3ff
	.long	0
	.balign	8
idt:
	.irp	n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
	.word	stub_\n, 0x08, 0x8e00, 0
	.endr
	.fill	16, 8, 0
	.irp	n, 32, 33, 34, 35, 36, 37, 38, 39, 40, 41, 42, 43, 44, 45, 46, 47
	.word	stub_\n, 0x08, 0x8e00, 0
	.endr
idt_end:
idtr_pm:
	.word	idt_end - idt - 1
	.long	idt
	.balign	4
tss:	.long	0, RING0, 0x10
	.fill	22, 4, 0
	.word	0, tss_ports - tss
	.fill	32, 1, 0		# no interrupt redirection: there is no VME here
tss_ports:
	.fill	8192, 1, 0		# all ports are the task's
	.byte	0xff
tss_end:
irqs:	.long	0
ints:	.long	0
halts:	.long	0
pending:
	.long	0
general_faults:
	.long	0
page_faults:
	.long	0
fault_address:
	.long	0
fault_code:
	.long	0
virtual_if:
	.byte	1
	.balign	2
seen:	.word	0
	PROGRAM_END
