"""What `cocos demo` is made of: its pictures, the commands that it types, its page."""
