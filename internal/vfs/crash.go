package vfs

type crashState struct {
	unsynced []*inode
}
type dirOp struct {
	dir      *inode
	name     string
	node     *inode
	from     *inode
	fromName string
}

func (c *crashState) note(dirOp)     {}
func (c *crashState) sync(*inode)    {}
func (c *crashState) syncDir(*inode) {}

type paged struct{ flat }

func (p *paged) dropCache(off, n int64) {}
