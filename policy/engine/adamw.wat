;; One step of AdamW over vectors of f32, in place, four values at a time: each value is read and written once,
;; where a graph would pass over whole vectors a dozen and a half times. All vectors have `bytes` bytes, a
;; multiple of 16; the formula is `adamW`'s of `adamw.ts`.
(module
  (memory (export "memory") 1)

  ;; Sum of the squares of `bytes` bytes, a multiple of 16.
  (func (export "squares") (param $at i32) (param $bytes i32) (result f64)
    (local $end i32) (local $values v128) (local $wide v128) (local $low v128) (local $high v128)
    (local.set $end (i32.add (local.get $at) (local.get $bytes)))
    loop $more
      (local.set $values (v128.load (local.get $at)))
      (local.set $wide (f64x2.promote_low_f32x4 (local.get $values)))
      (local.set $low (f64x2.add (local.get $low) (f64x2.mul (local.get $wide) (local.get $wide))))
      (local.set $wide
        (f64x2.promote_low_f32x4
          (i8x16.shuffle 8 9 10 11 12 13 14 15 0 0 0 0 0 0 0 0 (local.get $values) (local.get $values))))
      (local.set $high (f64x2.add (local.get $high) (f64x2.mul (local.get $wide) (local.get $wide))))
      (local.tee $at (i32.add (local.get $at) (i32.const 16)))
      local.get $end
      i32.ne
      br_if $more
    end
    (local.set $low (f64x2.add (local.get $low) (local.get $high)))
    (f64.add (f64x2.extract_lane 0 (local.get $low)) (f64x2.extract_lane 1 (local.get $low))))

  (func (export "step")
    (param $theta i32) (param $m i32) (param $v i32) (param $ema i32)
    (param $gradient i32) (param $decay i32) (param $bytes i32)
    (param $beta1 f32) (param $slope f32) (param $beta2 f32) (param $root f32)
    (param $eps f32) (param $pace f32) (param $pull f32) (param $keep f32) (param $take f32)
    (local $at i32) (local $g v128) (local $first v128) (local $second v128) (local $weight v128)
    loop $values
      (local.set $g (v128.load (i32.add (local.get $gradient) (local.get $at))))
      (local.set $first
        (f32x4.add
          (f32x4.mul
            (v128.load (i32.add (local.get $m) (local.get $at)))
            (f32x4.splat (local.get $beta1)))
          (f32x4.mul (local.get $g) (f32x4.splat (local.get $slope)))))
      (v128.store (i32.add (local.get $m) (local.get $at)) (local.get $first))
      (local.set $g (f32x4.mul (local.get $g) (f32x4.splat (local.get $root))))
      (local.set $second
        (f32x4.add
          (f32x4.mul
            (v128.load (i32.add (local.get $v) (local.get $at)))
            (f32x4.splat (local.get $beta2)))
          (f32x4.mul (local.get $g) (local.get $g))))
      (v128.store (i32.add (local.get $v) (local.get $at)) (local.get $second))
      (local.set $weight (v128.load (i32.add (local.get $theta) (local.get $at))))
      (local.set $weight
        (f32x4.sub
          (f32x4.sub
            (local.get $weight)
            (f32x4.mul
              (f32x4.div
                (local.get $first)
                (f32x4.add (f32x4.sqrt (local.get $second)) (f32x4.splat (local.get $eps))))
              (f32x4.splat (local.get $pace))))
          (f32x4.mul
            (f32x4.mul
              (local.get $weight)
              (v128.load (i32.add (local.get $decay) (local.get $at))))
            (f32x4.splat (local.get $pull)))))
      (v128.store (i32.add (local.get $theta) (local.get $at)) (local.get $weight))
      (v128.store
        (i32.add (local.get $ema) (local.get $at))
        (f32x4.add
          (f32x4.mul
            (v128.load (i32.add (local.get $ema) (local.get $at)))
            (f32x4.splat (local.get $keep)))
          (f32x4.mul (local.get $weight) (f32x4.splat (local.get $take)))))
      (local.tee $at (i32.add (local.get $at) (i32.const 16)))
      local.get $bytes
      i32.ne
      br_if $values
    end))
