package vfs

import (
	"slices"
	"sync/atomic"
)

// Profile says what a loss of power may do to what has not been synced. Under both profiles:
//
//   - Each 4 KiB page of a file keeps its contents as of the last Sync, or gets those that any later write gave it, or is
//     torn: every 512-byte sector has the one or the other of two of these. Pages are independent of each other.
//   - The size is one that the file has had since the last Sync, or a page boundary that a growing write passed, and
//     independent of the pages: so there may be zeros where data was written, and data may be missing that was.
//   - What the file had at its last Sync and has not changed since, it keeps. Sectors next to a write are not damaged.
//   - A name that was created, removed or moved is durable once SyncDir on its directory has returned. Before that it
//     may or may not have happened, whether or not the file itself has been synced.
//   - A rename within a directory has happened wholly or not at all. From one directory to another, a file may be
//     found under both names once only the new one's directory has been synced; it is never lost.
type Profile int

const (
	// Strict is what POSIX leaves open: changes of names are independent of each other.
	Strict Profile = iota
	// Ext4Like is a journalling file system with ordered data. Changes of names become durable in the order they were
	// made in, and all of them at any SyncDir and at the Sync of a file that is new or has changed its size. A page by
	// which a file has grown is not found as a hole.
	Ext4Like
)

// NewCrashMem returns an empty file system that remembers what has not been synced, for crash clones: every write costs
// a copy of the pages it touches, kept until they are synced.
func NewCrashMem(p Profile) *Mem {
	m := NewMem()
	m.crash = &crashState{profile: p}
	m.root.durable = m.root.entries
	m.root.shared = true
	return m
}

// crashState is what a Mem remembers for crash clones; guarded by Mem.mu.
type crashState struct {
	profile  Profile
	ops      []dirOp  // changes of names not yet durable, in order
	unsynced []*inode // files with changes not yet durable, in the order of their first
}

// dirOp is one change of names: node gets a name in dir (creation), loses one in from (removal), or both (rename).
type dirOp struct {
	node     *inode
	dir      *inode
	name     string
	from     *inode
	fromName string
}

// rounds numbers the clones of the process.
var rounds atomic.Uint64

func (c *crashState) note(op dirOp) { c.ops = append(c.ops, op) }

// sync makes the contents of a file durable.
func (c *crashState) sync(node *inode) {
	p := node.content.(*paged)
	if c.profile == Ext4Like {
		isNew := slices.ContainsFunc(c.ops, func(op dirOp) bool { return op.node == node })
		if isNew || len(p.sizes) > 0 {
			c.commitAll()
		}
	}
	p.sync()
	c.forget(node)
}

// lose is a Sync that failed in the worst way: what was to be written never will be, but looks as if it had been.
func (c *crashState) lose(node *inode) {
	p := node.content.(*paged)
	p.lose()
	if len(p.sizes) == 0 {
		c.forget(node)
	}
}

func (c *crashState) forget(node *inode) {
	if node.unsynced {
		node.unsynced = false
		i := slices.Index(c.unsynced, node)
		c.unsynced = slices.Delete(c.unsynced, i, i+1)
	}
}

func (c *crashState) commitAll() {
	for _, op := range c.ops {
		op.apply(diskNames)
	}
	c.ops = nil
}

// syncDir makes the changes of names in one directory durable, with what cannot be had without them.
func (c *crashState) syncDir(dir *inode) {
	if c.profile == Ext4Like {
		c.commitAll()
		return
	}
	var left []dirOp
	for _, op := range c.ops {
		switch {
		case op.dir != dir && op.from != dir:
			left = append(left, op)
		case op.from == nil || op.from == dir || op.node.isDir():
			op.apply(diskNames)
			// What happened to the node, or to its new name, before that is history.
			left = slices.DeleteFunc(left, func(before dirOp) bool {
				return op.from != nil && before.node == op.node || before.touches(op.dir, op.name)
			})
		default: // moved here from elsewhere: the new name is durable, the removal of the old one is not
			op.bind(diskNames)
			left = append(left, dirOp{node: op.node, from: op.from, fromName: op.fromName})
		}
	}
	c.ops = left
}

func (op dirOp) touches(dir *inode, name string) bool {
	return dir != nil && (op.dir == dir && op.name == name || op.from == dir && op.fromName == name)
}

// diskNames is the durable names of a directory. It is not shared with the live ones any more: there is a change.
func diskNames(dir *inode) map[string]*inode { return dir.durable }

// apply makes the change in the names that table returns for a directory.
func (op dirOp) apply(table func(*inode) map[string]*inode) {
	if op.from != nil {
		if names := table(op.from); names[op.fromName] == op.node {
			delete(names, op.fromName)
		}
	}
	op.bind(table)
}

func (op dirOp) bind(table func(*inode) map[string]*inode) {
	if op.dir != nil {
		table(op.dir)[op.name] = op.node
	}
}
