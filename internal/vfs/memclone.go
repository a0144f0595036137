package vfs

// Clone returns a file system with the same files, which is independent of m from then on. Nothing in it is open or locked.
// Contents are shared until one of the two is written to, so a clone costs little: the first write to a file copies it. All
// files are as they are at one moment. What maps a file in one of them at the time of its first write after the Clone may
// not see that write: clone what is not being written to. A Mem made by NewCrashMem remembers in its clone what has
// not been synced (KillClone).
func (m *Mem) Clone() *Mem {
	if m.crash != nil {
		return m.KillClone()
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	out := &Mem{clock: m.clock, locks: map[*inode]bool{}}
	out.capacity.Store(m.capacity.Load())
	clones := map[*inode]*inode{}
	out.root = m.cloneLocked(out, m.root, clones)
	return out
}

// cloneLocked returns the counterpart of node.
func (m *Mem) cloneLocked(out *Mem, node *inode, clones map[*inode]*inode) *inode {
	if c := clones[node]; c != nil {
		return c // it has a second name
	}
	c := &inode{mode: node.mode, mtime: node.mtime, links: node.links}
	clones[node] = c
	if node.isDir() {
		c.entries = make(map[string]*inode, len(node.entries))
		for name, child := range node.entries {
			c.entries[name] = m.cloneLocked(out, child, clones)
		}
		return c
	}
	node.mu.Lock()
	defer node.mu.Unlock()
	f := node.content.(*flat)
	f.shared = true
	c.mtime = node.mtime
	c.content = &flat{main: &view{buf: f.main.buf}, n: f.n, shared: true}
	c.charged = node.charged
	out.used.Add(c.charged)
	return c
}

// Remembers reports whether m was made by NewCrashMem, or is a clone of such a one.
func (m *Mem) Remembers() bool { return m.crash != nil }
