"""`cocos evaluate`: what an output folder holds, measured.

sources.py   where label maps and photos of inputs and exemplars are
items.py     a result with all that it is compared with, decoded
judge.py     figures of pairs: of the results, and of baselines of the same pairs
matching.py  pairs matched again: figures of the correspondence
sets.py      figures of whole sets: FID, SWD
evaluation.py  the passes over results and photos, and the report made of them
"""
