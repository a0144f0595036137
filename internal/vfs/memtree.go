package vfs

import (
	"io/fs"
	"strings"
	"syscall"
)

// findLocked walks to name.
func (m *Mem) findLocked(name string) (*inode, error) {
	node := m.root
	for part, rest := cutPart(clean(name)); part != ""; part, rest = cutPart(rest) {
		if !node.isDir() {
			return nil, syscall.ENOTDIR
		}
		if node = node.entries[part]; node == nil {
			return nil, syscall.ENOENT
		}
	}
	return node, nil
}

// parentLocked walks to the directory that holds name, and returns the last part too: empty for the root itself.
func (m *Mem) parentLocked(name string) (*inode, string, error) {
	name = clean(name)
	if name == "/" {
		return m.root, "", nil
	}
	i := strings.LastIndexByte(name, '/')
	dir, err := m.findLocked(name[:max(i, 1)])
	if err == nil && !dir.isDir() {
		err = syscall.ENOTDIR
	}
	if err != nil {
		return nil, "", err
	}
	return dir, name[i+1:], nil
}

func (m *Mem) newDir(perm fs.FileMode) *inode {
	node := &inode{mode: perm.Perm() | fs.ModeDir, mtime: m.clock.Now(), entries: map[string]*inode{}}
	if m.crash != nil {
		node.durable = map[string]*inode{}
	}
	return node
}

func (m *Mem) newFile(perm fs.FileMode) *inode {
	node := &inode{mode: perm, mtime: m.clock.Now()}
	if m.crash != nil {
		node.content = &paged{}
	} else {
		node.content = newFlat()
	}
	return node
}

func (m *Mem) bindLocked(dir *inode, name string, node *inode) {
	m.setLocked(dir, name, node)
	if m.crash != nil {
		m.crash.note(dirOp{dir: dir, name: name, node: node})
	}
}

func (m *Mem) unbindLocked(dir *inode, name string) {
	node := dir.entries[name]
	m.clearNameLocked(dir, name)
	if m.crash != nil {
		m.crash.note(dirOp{from: dir, fromName: name, node: node})
	}
}

func (m *Mem) moveLocked(from *inode, fromName string, to *inode, name string) {
	node := from.entries[fromName]
	m.setLocked(to, name, node)
	m.clearNameLocked(from, fromName)
	if m.crash != nil {
		m.crash.note(dirOp{dir: to, name: name, node: node, from: from, fromName: fromName})
	}
}

func (m *Mem) setLocked(dir *inode, name string, node *inode) {
	dir.ownNames()
	if replaced := dir.entries[name]; replaced != nil {
		replaced.links--
		m.freeLocked(replaced)
	}
	dir.entries[name] = node
	dir.mtime = m.clock.Now()
	node.links++
}

func (m *Mem) clearNameLocked(dir *inode, name string) {
	dir.ownNames()
	node := dir.entries[name]
	delete(dir.entries, name)
	dir.mtime = m.clock.Now()
	node.links--
	m.freeLocked(node)
}

// freeLocked gives back the space of a file that has neither name nor handle.
func (m *Mem) freeLocked(node *inode) {
	if node.links > 0 || node.opens > 0 || node.isDir() {
		return
	}
	m.lockUnderTree(node)
	m.used.Add(-node.charged)
	node.charged = 0
	m.unlockUnderTree(node)
}

// charge accounts for a file that is to be written up to end, and returns up to where there is space.
func (m *Mem) charge(node *inode, end int64) int64 {
	want := roundUp(end)
	for want > node.charged {
		used := m.used.Load()
		free := max(m.capacity.Load()-used, 0) / pageSize * pageSize
		grow := min(want-node.charged, free)
		if grow == 0 {
			break
		}
		if m.used.CompareAndSwap(used, used+grow) {
			node.charged += grow
			if node.charged < want {
				continue // space may have come
			}
		}
	}
	return min(end, node.charged)
}

// truncateFile cuts or extends a file. The caller holds its lock.
func (m *Mem) truncateFile(node *inode, size int64) {
	node.content.truncate(size)
	if least := roundUp(size); node.charged > least {
		m.used.Add(least - node.charged)
		node.charged = least
	}
	m.touch(node)
}

// touch notes that a file changed. The caller holds its lock.
func (m *Mem) touch(node *inode) {
	node.mtime = m.clock.Now()
	if m.crash != nil && !node.unsynced {
		node.unsynced = true
		m.crash.unsynced = append(m.crash.unsynced, node)
	}
}

// lockUnderTree takes the lock of a file while Mem.mu is held: that is the same lock in crash mode. Lock order: Mem.mu,
// then inode.mu.
func (m *Mem) lockUnderTree(node *inode) {
	if m.crash == nil {
		node.mu.Lock()
	}
}

func (m *Mem) unlockUnderTree(node *inode) {
	if m.crash == nil {
		node.mu.Unlock()
	}
}

func (m *Mem) infoUnderTree(name string, node *inode) fileInfo {
	info := fileInfo{name: name, mode: node.mode}
	if node.isDir() {
		info.mtime = node.mtime
		return info
	}
	if m.crash == nil {
		node.mu.RLock()
		defer node.mu.RUnlock()
	}
	info.mtime, info.size = node.mtime, node.content.size()
	return info
}
