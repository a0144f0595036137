package kafkatest

import (
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"syscall"

	"github.com/partlog/partlog/internal/vfs"
	"github.com/partlog/partlog/kafka"
	"github.com/partlog/partlog/partition"
)

// diskKind is what the store is on.
type diskKind int

const (
	diskMemory diskKind = iota
	diskFaulty
	diskDirectory
)

// disk is what a store is on: its files, below a layer that fails on command.
type disk interface {
	// layer returns the file system for the store, with no rules in force; the one before is not used any more.
	layer() *vfs.Fault
	// dir returns the store's directory on it.
	dir() string
	// loses takes from the disk what has not been synced.
	lose(rng *rand.Rand) error
	// remove frees what is not to outlive the cluster.
	remove() error
}

// memoryDir is where a store is in memory.
const memoryDir = "/kafkatest"

// memoryDisk is files in memory.
type memoryDisk struct {
	mem   *vfs.Mem
	crash bool // it remembers what has been synced
}

func (d *memoryDisk) layer() *vfs.Fault { return vfs.NewFault(d.mem) }
func (d *memoryDisk) dir() string       { return memoryDir }
func (d *memoryDisk) remove() error     { return nil }

func (d *memoryDisk) lose(rng *rand.Rand) error {
	if !d.crash {
		return ErrNoPowerLoss
	}
	d.mem = d.mem.CrashClone(rng)
	return nil
}

// realDisk is a directory of the machine.
type realDisk struct {
	path      string
	temporary bool
	fs        vfs.FS
}

func (d *realDisk) layer() *vfs.Fault         { return vfs.NewFault(d.fs) }
func (d *realDisk) dir() string               { return d.path }
func (d *realDisk) lose(rng *rand.Rand) error { return ErrNoPowerLoss }

func (d *realDisk) remove() error {
	if d.temporary {
		return os.RemoveAll(filepath.Dir(d.path))
	}
	return nil
}

func (c *config) openDisk() (disk, error) {
	if c.image != nil {
		return c.image.fork()
	}
	switch c.disk {
	case diskFaulty:
		return &memoryDisk{mem: vfs.NewCrashMem(vfs.Strict), crash: true}, nil
	case diskDirectory:
		path, err := filepath.Abs(c.dir)
		return &realDisk{path: path, fs: vfs.OS}, err
	}
	return &memoryDisk{mem: vfs.NewMem()}, nil
}

// openStore opens the store on the cluster's disk.
func (c *Cluster) openStore() (*partition.Store, error) {
	cfg, err := c.config.storeConfig()
	if err != nil {
		return nil, err
	}
	layer := c.disk.layer()
	c.mu.Lock()
	c.layer = layer
	c.mu.Unlock()
	cfg.Clock, cfg.FS = c.clock, layer
	return partition.Open(c.disk.dir(), cfg)
}

func (c *config) allProperties() map[string]string {
	all := map[string]string{}
	for _, from := range []map[string]string{c.properties, c.server.Properties} {
		for k, v := range from {
			all[k] = v
		}
	}
	return all
}

// storeConfig is what the properties say of the store, with Kafka's defaults.
func (c *config) storeConfig() (partition.Config, error) {
	if c.store != nil {
		return *c.store, nil
	}
	all := c.allProperties()
	known, ok := storeConfigs.Load(propertyText(all))
	if !ok {
		n, err := kafka.ParseNode(all)
		if err != nil {
			return partition.Config{}, err
		}
		known = n.StoreConfig(partition.SyncAlways)
		storeConfigs.Store(propertyText(all), known)
	}
	cfg := known.(partition.Config)
	cfg.Topics.Extra = maps.Clone(cfg.Topics.Extra)
	return cfg, nil
}

// storeConfigs remembers what properties say: hundreds of tests have the same.
var storeConfigs sync.Map

func propertyText(all map[string]string) string {
	var b []byte
	for _, k := range slices.Sorted(maps.Keys(all)) {
		b = append(strconv.AppendQuote(b, k), '=')
		b = append(strconv.AppendQuote(b, all[k]), '\n')
	}
	return string(b)
}

// DiskRule says which operations of the disk fail, and how. The zero DiskRule makes the first operation of any kind fail
// with syscall.EIO, once.
type DiskRule = vfs.Rule

// ArmedDiskRule is a DiskRule in force: Hits counts, Lift ends it.
type ArmedDiskRule = vfs.Armed

// The kinds of operations that a DiskRule can be about.
const (
	OpCreate  = vfs.OpCreate
	OpOpen    = vfs.OpOpen
	OpWrite   = vfs.OpWrite
	OpRead    = vfs.OpRead
	OpSync    = vfs.OpSync
	OpSyncDir = vfs.OpSyncDir
	OpRename  = vfs.OpRename
	OpRemove  = vfs.OpRemove
)

// InjectDisk puts a rule of the disk in force, until it is lifted, has been used once, or the cluster crashes. Paths are like
// orders-0/00000000000000000000.log below the store's directory; a glob without a separator is for their last part, so
// "*.log" is the segments of all partitions.
func (c *Cluster) InjectDisk(r DiskRule) *ArmedDiskRule { return c.faults().Add(r) }

// FillDisk makes every write fail as on a full disk, after so many bytes more, until the rule is lifted.
func (c *Cluster) FillDisk(after int64) *ArmedDiskRule {
	r := DiskRule{Op: vfs.OpWrite, Err: syscall.ENOSPC, Forever: true}
	if after > 0 {
		r.AfterBytes = after
	}
	return c.InjectDisk(r)
}

// FailSync makes every sync of a segment fail until the rule is lifted. The store takes no second one for an answer: the
// partitions concerned serve reads and refuse appends (KAFKA_STORAGE_ERROR) until the cluster is reopened.
func (c *Cluster) FailSync() *ArmedDiskRule {
	return c.InjectDisk(DiskRule{Op: vfs.OpSync, Path: "*.log", Forever: true})
}

func (c *Cluster) faults() *vfs.Fault {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.layer
}
