;; The two passes of `resample.ts`, four or sixteen values at a time. Pictures are rows of RGB bytes; taps are
;; records of i32: where the first source value lies, in bytes from the row (or the picture), how many taps
;; there are, and a weight each in 22 bits of fixed point. All that is read or written ends at least 16 bytes
;; before the memory does: stores overshoot into what comes next and is written afterwards.
(module
  (memory (export "memory") 1)

  ;; Rows of `width` pixels become rows of `outWidth`: one pixel, three lanes and a spare one, at a time.
  (func (export "across")
    (param $source i32) (param $width i32) (param $height i32)
    (param $taps i32) (param $record i32) (param $outWidth i32) (param $target i32)
    (local $x i32) (local $tap i32) (local $weight i32) (local $end i32) (local $from i32)
    (local $sum v128)
    loop $rows
      local.get $taps
      local.set $tap
      local.get $outWidth
      local.set $x
      loop $pixels
        (local.set $from (i32.add (local.get $source) (i32.load (local.get $tap))))
        (local.set $weight (i32.add (local.get $tap) (i32.const 8)))
        (local.set $end
          (i32.add (local.get $weight) (i32.shl (i32.load offset=4 (local.get $tap)) (i32.const 2))))
        ;; A half, so that the shift rounds.
        (local.set $sum (v128.const i32x4 0x200000 0x200000 0x200000 0x200000))
        loop $weights
          (local.set $sum
            (i32x4.add
              (local.get $sum)
              (i32x4.mul
                (v128.load32_splat (local.get $weight))
                (i32x4.extend_low_i16x8_u
                  (i16x8.extend_low_i8x16_u (v128.load32_zero (local.get $from)))))))
          (local.set $from (i32.add (local.get $from) (i32.const 3)))
          (local.tee $weight (i32.add (local.get $weight) (i32.const 4)))
          local.get $end
          i32.ne
          br_if $weights
        end
        (local.set $sum (i32x4.shr_s (local.get $sum) (i32.const 22)))
        (local.set $sum (i16x8.narrow_i32x4_s (local.get $sum) (local.get $sum)))
        (v128.store32_lane 0
          (local.get $target)
          (i8x16.narrow_i16x8_u (local.get $sum) (local.get $sum)))
        (local.set $target (i32.add (local.get $target) (i32.const 3)))
        (local.set $tap (i32.add (local.get $tap) (local.get $record)))
        (local.tee $x (i32.sub (local.get $x) (i32.const 1)))
        br_if $pixels
      end
      (local.set $source (i32.add (local.get $source) (i32.mul (local.get $width) (i32.const 3))))
      (local.tee $height (i32.sub (local.get $height) (i32.const 1)))
      br_if $rows
    end)

  ;; Lines of `line` bytes become `outHeight` of them, sixteen bytes at a time.
  (func (export "down")
    (param $source i32) (param $line i32)
    (param $taps i32) (param $record i32) (param $outHeight i32) (param $target i32)
    (local $i i32) (local $weight i32) (local $end i32) (local $from i32)
    (local $by v128) (local $bytes v128) (local $half v128)
    (local $a v128) (local $b v128) (local $c v128) (local $d v128)
    loop $rows
      (local.set $i (i32.const 0))
      loop $columns
        (local.set $from
          (i32.add
            (i32.add (local.get $source) (local.get $i))
            (i32.load (local.get $taps))))
        (local.set $weight (i32.add (local.get $taps) (i32.const 8)))
        (local.set $end
          (i32.add (local.get $weight) (i32.shl (i32.load offset=4 (local.get $taps)) (i32.const 2))))
        (local.set $a (v128.const i32x4 0x200000 0x200000 0x200000 0x200000))
        (local.set $b (local.get $a))
        (local.set $c (local.get $a))
        (local.set $d (local.get $a))
        loop $weights
          (local.set $by (v128.load32_splat (local.get $weight)))
          (local.set $bytes (v128.load (local.get $from)))
          (local.set $half (i16x8.extend_low_i8x16_u (local.get $bytes)))
          (local.set $a
            (i32x4.add
              (local.get $a)
              (i32x4.mul (local.get $by) (i32x4.extend_low_i16x8_u (local.get $half)))))
          (local.set $b
            (i32x4.add
              (local.get $b)
              (i32x4.mul (local.get $by) (i32x4.extend_high_i16x8_u (local.get $half)))))
          (local.set $half (i16x8.extend_high_i8x16_u (local.get $bytes)))
          (local.set $c
            (i32x4.add
              (local.get $c)
              (i32x4.mul (local.get $by) (i32x4.extend_low_i16x8_u (local.get $half)))))
          (local.set $d
            (i32x4.add
              (local.get $d)
              (i32x4.mul (local.get $by) (i32x4.extend_high_i16x8_u (local.get $half)))))
          (local.set $from (i32.add (local.get $from) (local.get $line)))
          (local.tee $weight (i32.add (local.get $weight) (i32.const 4)))
          local.get $end
          i32.ne
          br_if $weights
        end
        (v128.store
          (i32.add (local.get $target) (local.get $i))
          (i8x16.narrow_i16x8_u
            (i16x8.narrow_i32x4_s
              (i32x4.shr_s (local.get $a) (i32.const 22))
              (i32x4.shr_s (local.get $b) (i32.const 22)))
            (i16x8.narrow_i32x4_s
              (i32x4.shr_s (local.get $c) (i32.const 22))
              (i32x4.shr_s (local.get $d) (i32.const 22)))))
        (local.tee $i (i32.add (local.get $i) (i32.const 16)))
        local.get $line
        i32.lt_u
        br_if $columns
      end
      (local.set $target (i32.add (local.get $target) (local.get $line)))
      (local.set $taps (i32.add (local.get $taps) (local.get $record)))
      (local.tee $outHeight (i32.sub (local.get $outHeight) (i32.const 1)))
      br_if $rows
    end))
