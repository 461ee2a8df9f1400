"""`cocos rank`: which of several runs people like better, without knowing which is whose.

page.py    draws pairs that all runs translated, and writes the page and its key
tally.py   counts the answers that it exports, by the key
"""
