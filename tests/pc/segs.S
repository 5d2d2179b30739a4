# SPDX-License-Identifier: GPL-2.0-or-later
# Segments as DOS programs use them: ss apart from ds, overrides, offsets that wrap at 64 KiB, stacks that wrap, far
# transfers through memory, lds and les, string instructions over the end of a segment.
	.include "pc.inc"

main:
	# An own stack segment; data elsewhere; [bp] means ss.
	mov	ax, 0x2000
	mov	ds, ax
	mov	ax, 0x3000
	mov	es, ax
	cli
	mov	cs:[save_sp], sp
	mov	ax, 0x4000
	mov	ss, ax
	mov	sp, 0x1000
	mov	word ptr [0x100], 0x1111
	mov	word ptr es:[0x100], 0x2222
	mov	word ptr ss:[0x100], 0x3333
	mov	bp, 0x100
	mov	bx, 0x100
	mov	si, 0
	mov	di, 0
	mov	ax, [bx]
	mov	cs:[v0], ax
	mov	ax, [bp]
	mov	cs:[v0 + 2], ax
	mov	ax, es:[bp + si]
	mov	cs:[v1], ax
	mov	ax, ds:[bp + di]
	mov	cs:[v1 + 2], ax
	mov	ax, ss:[bx + di]
	mov	cs:[v2], ax
	push	es
	pop	word ptr cs:[v2 + 2]
	# esp as base in a 32-bit address uses ss, eax uses ds.
	mov	esp, 0x100
	mov	eax, 0x100
	mov	cx, [esp]
	mov	dx, [eax]
	mov	cs:[v3], cx
	mov	cs:[v3 + 2], dx
	xor	ax, ax
	mov	ss, ax
	mov	esp, 0x7c00
	mov	sp, cs:[save_sp]
	mov	ds, ax
	mov	es, ax
	sti
	check_var	"bx-is-ds_bp-is-ss", v0, 0x33331111
	check_var	"overrides", v1, 0x11112222
	check_var	"ss-override_push-es", v2, 0x30003333
	check_var	"esp-base", v3, 0x11113333

	# Offsets wrap at 64 KiB: [bx+si] with a carry, disp8 below zero.
	mov	ax, 0x5000
	mov	ds, ax
	mov	word ptr ds:[0x10], 0xabcd
	mov	bx, 0xfff0
	mov	si, 0x20
	mov	ax, [bx + si]
	check16	"bx+si-wraps", 0xabcd
	mov	bx, 0xfff8
	mov	ax, [bx + 0x18]
	check16	"disp8-wraps", 0xabcd
	mov	di, 5
	mov	byte ptr ds:[0xfffc], 0x5a
	mov	al, [di - 9]
	check8	"negative-disp-wraps", 0x5a
	mov	si, 0x8010
	mov	ax, [si + 0x8000]
	check16	"disp16-wraps", 0xabcd
	lea	ax, [bx + si + 0x9000]
	check16	"lea-wraps", 0x1008
	mov	word ptr ds:[0], 0x7777
	mov	bx, 0
	mov	al, 0xff
	xlatb
	mov	bx, 0xfffe
	mov	al, 2
	xlatb
	check8	"xlat-wraps", 0x77

	# Byte strings wrap in si and di.
	mov	ax, 0x5000
	mov	ds, ax
	mov	ax, 0x6000
	mov	es, ax
	mov	di, 0xfff8
	mov	cx, 16
	mov	al, 0xc3
	rep	stosb
	mov	ax, di
	check16	"stosb-di-wraps", 8
	mov	eax, es:[4]
	check	"stosb-over-the-end", 0xc3c3c3c3
	mov	eax, es:[0xfffc]
	check	"stosb-before-the-end", 0xc3c3c3c3
	mov	si, 0xfffc
	mov	dword ptr [si], 0x44332211
	mov	dword ptr ds:[0], 0x88776655
	mov	di, 0x200
	mov	cx, 8
	rep	movsb
	mov	eax, es:[0x200]
	check	"movsb-si-wraps-low", 0x44332211
	mov	eax, es:[0x204]
	check	"movsb-si-wraps-high", 0x88776655
	mov	si, 0xfffc
	mov	di, 0xfffe
	mov	cx, 4
	rep	movsw
	mov	ax, si
	check16	"movsw-si-wraps", 4
	mov	ax, es:[2]
	check16	"movsw-di-wraps", 0x6655
	# Backwards through zero.
	std
	mov	di, 2
	mov	ax, 0x9696
	mov	cx, 3
	rep	stosw
	cld
	mov	ax, di
	check16	"stosw-backwards-wraps", 0xfffc
	mov	ax, es:[0xfffe]
	check16	"stosw-backwards", 0x9696
	# A string with ds overridden.
	mov	dword ptr cs:[v0], 0x01020304
	mov	si, offset v0
	mov	di, 0x300
	movsb	es:[di], cs:[si]
	lodsw	cs:[si]
	check16	"lodsw-cs-override", 0x0203
	mov	al, es:[0x300]
	check8	"movsb-cs-override", 4
	# repne scasb, repe cmpsb, and loops with 32-bit counters in 16-bit code.
	mov	di, 0x200
	mov	al, 0x66
	mov	cx, 100
	repne	scasb
	mov	ax, cx
	check16	"repne-scasb", 94
	mov	ax, di
	check16	"repne-scasb-di", 0x206
	mov	ecx, 0x10003
	xor	ax, ax
1:	inc	ax
	loop	1b			# cx, not ecx
	check16	"loop-uses-cx", 3
	mov	eax, ecx
	check	"loop-leaves-ecx-high", 0x10000
	mov	ecx, 0x10000
	xor	ax, ax
	jcxz	2f
	inc	ax
2:	check16	"jcxz-looks-at-cx", 0

	# The stack wraps: sp = 0 pushes to FFFEh; ss:sp with sp = 1 is not tried, DOS programs do not.
	xor	ax, ax
	mov	ds, ax
	mov	es, ax
	cli
	mov	[save_sp], sp
	mov	ax, 0x4000
	mov	ss, ax
	xor	sp, sp
	mov	bx, 0x1357
	push	bx
	mov	[v0], sp
	mov	bx, ss:[0xfffe]
	mov	[v0 + 2], bx
	pushad
	mov	[v1], sp
	popad
	pop	ax
	mov	[v1 + 2], sp
	# call and ret across the wrap, and `pop ss` followed by the new sp.
	call	1f
	jmp	2f
1:	mov	[v2], sp
	ret	4
2:	mov	[v2 + 2], sp
	mov	sp, 0x80
	push	word ptr 0
	pop	ss
	mov	sp, [save_sp]
	sti
	check_var	"push-at-sp-0", v0, 0x1357fffe
	check_var	"pushad-below-64K", v1, 0x0000ffde
	check_var	"call-ret-wrap", v2, 0x0004fffe

	# enter and leave, push sp (286 and later: the old value), push imm, pusha's sp.
	mov	bp, 0xaaaa
	mov	bx, sp
	push	sp
	pop	ax
	sub	ax, bx
	check16	"push-sp-pushes-the-old-one", 0
	enter	8, 0
	mov	ax, bx
	sub	ax, bp
	check16	"enter-bp", 2
	mov	ax, bp
	sub	ax, sp
	check16	"enter-room", 8
	leave
	mov	ax, bp
	check16	"leave", 0xaaaa
	push	-3
	pop	ax
	check16	"push-imm8-is-signed", 0xfffd
	pusha
	mov	bp, sp
	mov	ax, [bp + 6]
	sub	ax, bp
	mov	[v0], ax
	popa
	check_var16	"pusha-saves-sp-before", v0, 16
	push	dword ptr 0x12345678
	pop	ax
	pop	dx
	check16	"push-dword", 0x5678
	mov	ax, dx
	check16	"push-dword-high", 0x1234

	# lds, les, lss, lfs, lgs.
	mov	dword ptr [v0], 0x20000123
	les	di, [v0]
	mov	ax, es
	check16	"les-segment", 0x2000
	mov	ax, di
	check16	"les-offset", 0x123
	mov	dword ptr [v0], 0x30000456
	lds	si, [v0]
	mov	ax, ds
	check16	"lds-segment", 0x3000
	xor	ax, ax
	mov	ds, ax
	mov	ax, si
	check16	"lds-offset", 0x456
	lfs	bx, [v0]
	lgs	cx, [v0]
	mov	ax, fs
	mov	dx, gs
	sub	ax, dx
	check16	"lfs-lgs", 0
	cli
	mov	[v1], sp
	mov	[v1 + 2], ss
	mov	dword ptr [v2], 0x40000800
	lss	sp, [v2]
	mov	ax, ss
	mov	dx, sp
	lss	sp, [v1]
	sti
	check16	"lss-segment", 0x4000
	mov	ax, dx
	check16	"lss-offset", 0x800

	# Far calls: direct, through memory with each of the segments, retf n; the same code under another cs.
	call_far	0x07c0, (far1-0x7c00)
	check16	"far-call-alias-cs", 0x07c0
	mov	word ptr [v0], offset far1
	mov	word ptr [v0 + 2], 0
	mov	bx, offset v0
	call	dword ptr [bx]
	check16	"far-call-memory", 0
	mov	word ptr [v0], offset far1 - 0x7000
	mov	word ptr [v0 + 2], 0x0700
	push	cs
	push	offset 1f
	jmp	dword ptr [bx]
1:	check16	"far-jump-memory", 0x0700
	push	1
	push	2
	mov	dx, sp
	call_far	0x0780, (far2-0x7800)
	mov	ax, sp
	sub	ax, dx
	check16	"retf-n", 4
	push	word ptr 0x0600		# retf as a jump
	push	word ptr offset far3 - 0x6000
	retf
back3:
	check16	"retf-jumps", 0x0600
	# An interrupt through the table: flags, cs, ip, and interrupts off inside.
	set_vector	0x61, int61
	stc
	int	0x61
int61_site:
	check16	"int-entry-if-clear", 0
	mov	ax, [v0]
	and	ax, 0x201
	check16	"int-pushed-flags", 0x201
	check_var16	"int-pushed-ip", v1, int61_site
	# ip wraps at 64 KiB: a jump from the end of a segment goes on at its start.
	mov	ax, 0x5000
	mov	es, ax
	mov	byte ptr es:[0xfffe], 0xeb	# jmp +10h from FFFEh: to 0010h
	mov	byte ptr es:[0xffff], 0x10
	mov	byte ptr es:[0x10], 0xcb	# retf
	mov	ax, 0x1111
	call_far	0x5000, 0xfffe
	inc	ax
	check16	"jump-wraps-ip", 0x1112
	# Interrupt vector table at its edge, and a segment at the top of memory: FFFFh:0010h is 1 MiB or 0, as A20 says.
	mov	ax, 0xffff
	mov	es, ax
	mov	eax, es:[0]		# f000:fff0, the reset vector: a far jump
	check8	"rom-at-the-top", 0xea
	mov	al, es:[0]
	mov	byte ptr es:[0], 0
	mov	al, es:[0]
	check8	"rom-is-not-written", 0xea
	jmp	finish

far1:	mov	ax, cs
	retf
far2:	mov	ax, cs
	retf	4
far3:	mov	ax, cs
	jmp_far	0, back3
int61:
	push	bp
	mov	bp, sp
	mov	ax, [bp + 6]
	mov	[v0], ax
	mov	ax, [bp + 2]
	mov	[v1], ax
	pushf
	pop	ax
	and	ax, 0x200
	pop	bp
	iret
	.balign	4
save_sp:
	.word	0, 0
v0:	.long	0
v1:	.long	0
v2:	.long	0
v3:	.long	0
	PROGRAM_END
