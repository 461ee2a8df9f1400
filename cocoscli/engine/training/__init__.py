"""`cocos train`, from its options to a folder of weights.

plan.py run.py         what is trained, with what and where; the run, step after step
trainer.py loading.py  one step; the batches it is given
validation.py          held-out samples: figures, panels, warnings
checkpoint.py folder.py history.py  what lies on disk
page.py curves.py measures.py tensorboard.py  what people look at
distributed.py interrupts.py memory.py  processes, signals, limits
"""
