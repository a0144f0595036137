package vfs

import (
	"math/rand/v2"
	"slices"
)

// CrashClone returns the file system as it may be found after power was lost now: one of the legal states, chosen by
// rng. In it everything is durable, and nothing is open or locked; it is in crash mode itself. The pages are shared, so
// a clone costs little. It panics if m was not made by NewCrashMem.
func (m *Mem) CrashClone(rng *rand.Rand) *Mem {
	m.mu.Lock()
	defer m.mu.Unlock()
	k := maker{m: m, chooser: &dice{rng: rng, lean: lean(rng.IntN(int(leans)))}}
	return k.crash()
}

// KillClone returns the file system as it is found after the process was killed now: with all that was written, and
// still without what has not been synced, should power be lost later. It panics if m was not made by NewCrashMem.
func (m *Mem) KillClone() *Mem {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.mustRemember()
	k := maker{m: m, round: rounds.Add(1)}
	k.out = m.emptyClone()
	k.out.root = k.copy(m.root)
	for _, op := range m.crash.ops {
		op.node, op.dir, op.from = k.copy(op.node), k.copy(op.dir), k.copy(op.from)
		k.out.crash.ops = append(k.out.crash.ops, op)
	}
	for _, node := range m.crash.unsynced {
		if node.round == k.round { // others can be reached by handles only, which the process took with it
			k.out.crash.unsynced = append(k.out.crash.unsynced, node.clone)
		}
	}
	return k.out
}

func (m *Mem) mustRemember() {
	if m.crash == nil {
		panic("BUG: crash clone of a file system that keeps no history: make it by NewCrashMem")
	}
}

// emptyClone is a Mem like m, but for its files.
func (m *Mem) emptyClone() *Mem {
	out := &Mem{clock: m.clock, locks: map[*inode]bool{}, crash: &crashState{profile: m.crash.profile}}
	out.capacity.Store(m.capacity.Load())
	return out
}

// chooser makes the choices of a crash: pick returns one of n states, of which 0 is the oldest and n-1 the newest.
type chooser interface {
	pick(n int) int
}

// lean is where dice lean to. Uniform choices alone would make it next to impossible that of many pages all but one
// were written, which is where bugs are.
type lean int

const (
	even lean = iota
	newer
	older
	leans
)

type dice struct {
	rng  *rand.Rand
	lean lean
}

func (d *dice) pick(n int) int {
	if n == 1 {
		return 0
	}
	if d.lean != even && d.rng.IntN(8) != 0 {
		if d.lean == newer {
			return n - 1
		}
		return 0
	}
	return d.rng.IntN(n)
}

// maker makes one clone; m.mu is held for writing.
type maker struct {
	chooser
	m      *Mem
	out    *Mem
	round  uint64
	tables map[*inode]map[string]*inode // names of the directories that pending changes touch
	label  *label                       // nil: not wanted
}

func (k *maker) crash() *Mem {
	k.m.mustRemember()
	k.round = rounds.Add(1)
	k.out = k.m.emptyClone()
	k.chooseNames()
	k.out.root = k.found(k.m.root)
	for _, node := range k.m.crash.unsynced {
		if node.round == k.round {
			k.chooseContent(node)
		}
	}
	return k.out
}

// chooseNames decides which changes of names have happened.
func (k *maker) chooseNames() {
	ops := k.m.crash.ops
	if len(ops) == 0 {
		return
	}
	k.tables = map[*inode]map[string]*inode{}
	if k.m.crash.profile == Ext4Like {
		kept := k.pick(len(ops) + 1)
		k.label.names(kept, len(ops))
		for _, op := range ops[:kept] {
			op.apply(k.names)
		}
		return
	}
	for i, op := range ops {
		keep := k.pick(2) == 1
		k.label.name(keep)
		if !keep {
			continue
		}
		op.apply(k.names)
		if op.dir == nil || op.from == nil {
			continue
		}
		// A rename moves the file from wherever it was, were earlier renames kept or not.
		for _, before := range ops[:i] {
			if before.node == op.node {
				before.undo(k.names, op)
			}
		}
	}
}

// undo takes away the name that op gave, unless it is the one that later gives.
func (op dirOp) undo(table func(*inode) map[string]*inode, later dirOp) {
	remove := func(dir *inode, name string) {
		if dir == nil || dir == later.dir && name == later.name {
			return
		}
		if names := table(dir); names[name] == op.node {
			delete(names, name)
		}
	}
	remove(op.dir, op.name)
	if op.dir != nil { // a rename; the pending removal of an old name alone may have failed to happen
		remove(op.from, op.fromName)
	}
}

// names is the names of a directory in the clone, as inodes of the original.
func (k *maker) names(dir *inode) map[string]*inode {
	names := k.tables[dir]
	if names == nil {
		names = cloneNames(dir.durable)
		k.tables[dir] = names
	}
	return names
}

// found returns the counterpart in the clone of what is on disk.
func (k *maker) found(node *inode) *inode {
	if node.round == k.round {
		return node.clone // it has a second name
	}
	c := &inode{mode: node.mode, mtime: node.mtime}
	node.clone, node.round = c, k.round
	if !node.isDir() {
		p := node.content.(*paged)
		if !node.unsynced {
			k.settle(c, p.onDisk())
		}
		return c
	}
	names := node.durable
	if t := k.tables[node]; t != nil {
		names = t
	}
	c.entries = make(map[string]*inode, len(names))
	for name, child := range names {
		cc := k.found(child)
		cc.links++
		c.entries[name] = cc
	}
	c.durable, c.shared = c.entries, true
	return c
}

func (k *maker) settle(c *inode, p *paged) {
	c.content = p
	c.charged = int64(len(p.pages)) * pageSize
	k.out.used.Add(c.charged)
}

// onDisk is the content of a file of which nothing is unsynced. Of one that is, chooseContent makes one.
func (p *paged) onDisk() *paged {
	p.ownDisk = false
	return &paged{n: p.diskN, pages: p.disk, disk: p.disk, diskN: p.diskN}
}

// chooseContent decides about size and pages of a file.
func (k *maker) chooseContent(node *inode) {
	p := node.content.(*paged)
	sizes := p.possibleSizes()
	c := p.onDisk()
	size := sizes[k.pick(len(sizes))]
	k.label.file(node, size)
	table := c.pages
	owned := false
	for i := range p.history {
		h := &p.history[i]
		if h.index*pageSize >= size {
			break
		}
		states := h.possible(at(p.disk, h.index), p.noHole(h.index, k.m.crash.profile))
		choice := k.pick(len(states))
		k.label.page(h.index, choice, len(states))
		if !owned {
			table, owned = slices.Clone(table), true
		}
		table = put(table, h.index, h.get(choice))
	}
	// What lies past the size is gone.
	if whole := roundUp(size) / pageSize; int64(len(table)) > whole {
		table = table[:whole]
	}
	if i := size / pageSize; size%pageSize != 0 && i < int64(len(table)) {
		if cut := table[i].cut(int(size % pageSize)); cut != table[i] {
			table = slices.Clone(table)
			table[i] = cut
		}
	}
	c.n, c.diskN, c.pages, c.disk = size, size, table, table
	k.settle(node.clone, c)
}

// noHole tells whether a page that the file has grown by cannot be found as if it had not been written.
func (p *paged) noHole(index int64, profile Profile) bool {
	return profile == Ext4Like && index*pageSize >= roundUp(p.diskN)
}

// copy returns the counterpart of node in a clone that has all that the original has.
func (k *maker) copy(node *inode) *inode {
	if node == nil {
		return nil
	}
	if node.round == k.round {
		return node.clone
	}
	c := &inode{mode: node.mode, mtime: node.mtime, shared: node.shared, links: node.links, unsynced: node.unsynced}
	node.clone, node.round = c, k.round
	if !node.isDir() {
		c.content = node.content.(*paged).copy()
		if c.links > 0 {
			c.charged = node.charged
			k.out.used.Add(c.charged)
		}
		return c
	}
	c.entries = k.copyNames(node.entries)
	if c.durable = c.entries; !node.shared {
		c.durable = k.copyNames(node.durable)
	}
	return c
}

func (k *maker) copyNames(names map[string]*inode) map[string]*inode {
	c := make(map[string]*inode, len(names))
	for name, node := range names {
		c[name] = k.copy(node)
	}
	return c
}

func (p *paged) copy() *paged {
	p.ownPages, p.ownDisk = false, false
	c := &paged{n: p.n, pages: p.pages, disk: p.disk, diskN: p.diskN, sizes: slices.Clone(p.sizes), lost: slices.Clone(p.lost)}
	c.history = make([]history, len(p.history))
	for i, h := range p.history {
		c.history[i] = history{index: h.index, versions: slices.Clip(h.versions)}
	}
	return c
}
