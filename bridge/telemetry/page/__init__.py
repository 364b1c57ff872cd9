"""The worker and its fleet for eyes: one small page, written in pieces. It only tells; nothing can be ordered here.

All that comes from outside is escaped: names, cursors, owners, consumer groups and errors are a stranger's.
"""
