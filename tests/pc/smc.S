# SPDX-License-Identifier: GPL-2.0-or-later
# Code that changes itself as DOS programs did: the next instruction, immediates in a loop, code made on the stack, an
# unpacker that overwrites itself, overlays, patched interrupt handlers, code seen through another segment.
# (What a prefetch queue would have run is not tested: since the 486 a jump, since the Pentium any write, is enough.)
	.include "pc.inc"

main:
	# A sector read over code that has run: the write comes from the DMA controller, not from the CPU. The sector's
	# own bytes are what was loaded at the start; the copy in memory is changed before it runs.
	mov	byte ptr [dma_code + 1], 1
	mov	bp, 50			# often enough to be hot
1:	call	dma_code
	dec	bp
	jnz	1b
	check16	"before-dma", 1
	mov	ax, offset dma_code
	sub	ax, 0x7c00
	shr	ax, 9
	xor	dx, dx
	mov	cx, 18
	div	cx			# ax = track, dx = sector
	mov	cl, dl
	inc	cl
	mov	dh, al
	and	dh, 1
	shr	ax, 1
	mov	ch, al
	mov	dl, [boot_drive]
	mov	bx, offset dma_code
	mov	ax, 0x0201
	int	0x13
	call	dma_code
	check16	"dma-over-code", 2
	# The very next instruction's immediate.
	mov	word ptr [1f + 1], 0x1234
1:	mov	ax, 0
	check16	"next-instruction", 0x1234
	# The next instruction's opcode: inc becomes dec.
	mov	cx, 5
	mov	byte ptr [1f], 0x49
1:	inc	cx
	mov	ax, cx
	check16	"next-opcode", 4
	# The instruction after a jump, the classic cache flush.
	mov	byte ptr [2f], 0x90
	jmp	1f
1:	nop
2:	hlt
	mov	al, 1
	check8	"hlt-becomes-nop", 1
	# A loop whose body changes each round.
	xor	ax, ax
	mov	cx, 300
	mov	word ptr [1f + 1], 0
2:
1:	.byte	0x05			# add ax, imm16
	.word	0
	inc	word ptr [1b + 1]
	loop	2b
	check16	"immediate-counts", 44850 & 0xffff
	# Behind itself: a backward patch in a loop, alternating two opcodes (add and sub).
	xor	dx, dx
	mov	cx, 101
	mov	bx, 3
2:	add	dx, bx
	xor	byte ptr [2b], 0x28	# 01h add, 29h sub
	loop	2b
	mov	ax, dx
	check16	"opcode-alternates", 3
	# rep movsb over the code that follows, and over the instruction itself.
	mov	si, offset piece_a
	mov	di, offset 1f
	mov	cx, 3
	rep	movsb
1:	mov	ax, 0x5555
	check16	"movs-over-next", 0xaaaa
	# Code on the stack, called and thrown away.
	push	word ptr 0xc390		# nop; ret
	push	word ptr 0x1234
	push	word ptr 0xb890		# nop; mov ax, 1234h
	mov	bx, sp
	call	bx
	add	sp, 6
	check16	"code-on-the-stack", 0x1234
	mov	bx, 20			# again and again with other values
	xor	dx, dx
1:	push	word ptr 0xc390
	push	bx
	push	word ptr 0xb890
	mov	si, sp
	call	si
	add	sp, 6
	add	dx, ax
	dec	bx
	jnz	1b
	mov	ax, dx
	check16	"code-on-the-stack-again", 210
	# `int n` with a number that is not known before: the instruction is patched, as compilers' libraries do.
	set_vector 0x62, int62
	set_vector 0x63, int63
	mov	byte ptr [1f + 1], 0x63
	jmp	1f
1:	int	0x62
	check16	"patched-int", 63
	mov	byte ptr [1b + 1], 0x62
	call	2f
	jmp	3f
2:	mov	byte ptr [4f + 1], 0x62
	jmp	4f
4:	int	0x63
	ret
3:	check16	"patched-int-again", 62
	# The code through another segment: 07C0h:off is 0:off + 7C00h.
	mov	ax, 0x07c0
	mov	es, ax
	call	target
	check16	"alias-before", 1
	mov	word ptr es:[(target - 0x7c00) + 1], 2
	call	target
	check16	"alias-after", 2
	mov	word ptr [target + 1], 3
	call_far 0x07c0, (target_far-0x7c00)
	check16	"alias-far", 3
	xor	ax, ax
	mov	es, ax

	# An unpacker in the manner of EXEPACK: runs from the end to the start, over itself at last.
	mov	ax, 0x2000
	mov	ds, ax
	mov	es, ax
	push	cs
	pop	ds
	mov	si, offset packed
	xor	di, di
	mov	cx, packed_end - packed
	rep	movsb
	push	es
	pop	ds
	call_far 0x2000, 0
	xor	cx, cx
	mov	ds, cx
	mov	es, cx
	check16	"unpacker", 0x600d
	# LZ with overlapping copies makes code (a run of `inc ax`), which then runs; several times at the same place.
	mov	word ptr [lz_rounds], 0
lz_again:
	mov	ax, 0x3000
	mov	es, ax
	mov	si, offset lz_data
	xor	di, di
lz_next:
	lodsb
	test	al, al
	jz	lz_done
	js	lz_copy
	mov	cl, al
	xor	ch, ch
	rep	movsb
	jmp	lz_next
lz_copy:
	and	ax, 0x7f
	mov	cx, ax
	lodsb
	xor	ah, ah
	mov	bx, di
	sub	bx, ax
	push	si
	mov	si, bx
	rep	movsb	es:[di], es:[si]
	pop	si
	jmp	lz_next
lz_done:
	xor	ax, ax
	mov	es, ax
	call_far 0x3000, 0
	cmp	word ptr [lz_rounds], 0
	jne	1f
	check16	"lz-code", 101
	inc	word ptr [lz_rounds]
	xor	byte ptr [lz_inc], 0x40 ^ 0x48	# next time `dec ax`
	jmp	lz_again
1:	check16	"lz-code-again", -101 & 0xffff

	# An overlay area: different code of different length at the same place, called in turn many times.
	mov	cx, 50
	xor	dx, dx
1:	push	cx
	mov	si, offset overlay_a
	test	cl, 1
	jz	2f
	mov	si, offset overlay_b
2:	mov	di, 0x600
	mov	cx, overlay_b_end - overlay_b
	rep	movsb
	mov	bx, 0x600
	call	bx
	pop	cx
	loop	1b
	mov	ax, dx
	check16	"overlays", 25 * 7 + 25 * 1000
	# A decryptor: xor in place, run, and back.
	mov	cx, 2
1:	push	cx
	mov	si, offset secret
	mov	cx, secret_end - secret
2:	xor	byte ptr [si], 0xa5
	inc	si
	loop	2b
	pop	cx
	cmp	cx, 2
	jne	3f
	call	secret
	mov	dx, ax
3:	loop	1b
	mov	ax, dx
	check16	"decryptor", 0x4242
	mov	al, [secret]
	check8	"decryptor-back", 0xb8 ^ 0xa5
	# A handler of the timer interrupt that patches the code which it interrupts.
	cli
	mov	eax, [8 * 4]
	mov	[old8], eax
	set_vector 8, patcher
	sti
	mov	ecx, 0
1:	inc	ecx
	cmp	byte ptr [stop_site + 1], 0
stop_site:
	mov	bl, 0
	test	bl, bl
	jz	1b
	cli
	mov	eax, [old8]
	mov	[8 * 4], eax
	sti
	mov	al, bl
	check8	"patched-by-interrupt", 1
	# Words that cross a page and lie half in code; code at the end of one page and the start of the next.
	mov	di, 0x1ffc
	mov	si, offset crossing
	mov	cx, crossing_end - crossing
	rep	movsb
	mov	cx, 5
	xor	dx, dx
1:	mov	bx, 0x1ffc
	call	bx
	add	dx, ax
	add	word ptr [0x1ffd + 2], 1	# the immediate's upper half crosses into the next page
	loop	1b
	movzx	eax, dx
	check	"code-across-a-page", (0x10 * 5 + 10)
	# The return address on the stack changed by the callee; a return into data behind the call (as our own reports do).
	call	1f
	.word	0xbeef
	jmp	2f
1:	pop	bx
	mov	ax, [bx]
	add	bx, 2
	jmp	bx
2:	check16	"inline-data", 0xbeef
	jmp	finish

int62:	mov	ax, 62
	iret
int63:	mov	ax, 63
	iret
piece_a:
	mov	ax, 0xaaaa
target:	mov	ax, 1
	ret
target_far:
	call	(target)
	retf
patcher:
	mov	byte ptr cs:[stop_site + 1], 1
	jmp	dword ptr cs:[old8]
overlay_a:
	add	dx, 7
	ret
	nop
	nop
	nop
	nop
overlay_b:
	push	bx
	mov	bx, 1000
	add	dx, bx
	pop	bx
	ret
overlay_b_end:
	.balign	2
secret:
	.irp	b, 0xb8, 0x42, 0x42, 0xc3
	.byte	\b ^ 0xa5
	.endr
secret_end:
crossing:				# at 1FFCh: 66 B8 imm32 at 1FFEh..2001h, then ret
	.byte	0x90
	.byte	0x66, 0xb8
	.long	0x00000010
	shr	eax, 0
	ret
crossing_end:
	# Copied to 2000h:0. It unpacks (bytes doubled, from the end downwards) onto itself and jumps into the result.
packed:
	std
	mov	si, packed_last - packed
	mov	di, 0x200
	mov	cx, packed_last - packed_first + 1
1:	lodsb
	xor	al, 0x5a
	stosb
	loop	1b
	cld
	mov	si, di
	inc	si
	xor	di, di
	mov	cx, packed_last - packed_first + 1
				# the copy loop runs elsewhere, since its own place is overwritten
	mov	word ptr ds:[0x1f0], 0xa4f3
	mov	byte ptr ds:[0x1f2], 0xe9	# jmp 0
	mov	word ptr ds:[0x1f3], -0x1f5 & 0xffff
	mov	bx, 0x1f0
	jmp	bx
packed_first:
	.irp	b, 0xb8, 0x0d, 0x60, 0xb9, 0x03, 0x00, 0xe2, 0xfe, 0x90
	.byte	\b ^ 0x5a
	.endr
packed_last:
	.byte	0xcb ^ 0x5a
packed_end:
lz_data:
	.byte	3
	xor	ax, ax
lz_inc:
	inc	ax
	.byte	0x80 | 100, 1
	.byte	1
	retf
	.byte	0
	.balign	4
old8:	.long	0
lz_rounds:
	.word	0
	.balign	512, 0x90
dma_code:
	mov	ax, 2
	ret
	.balign	512, 0x90
	PROGRAM_END
