package vfs

import (
	"fmt"
	"math/bits"
	"strings"
)

// OpKind is a kind of operation, or several of them joined by |.
type OpKind uint32

// The kinds. Those in Mutations change something that may outlive the process.
const (
	OpCreate    OpKind = 1 << iota // OpenFile that may create (os.O_CREATE) or cut (os.O_TRUNC) a file
	OpOpen                         // any other OpenFile
	OpWrite                        // File.WriteAt
	OpTruncate                     // File.Truncate
	OpSync                         // File.Sync
	OpSyncDir                      // SyncDir
	OpRename                       // Rename; Path is the old name
	OpRemove                       // Remove and RemoveAll
	OpMkdir                        // Mkdir and MkdirAll
	OpRead                         // File.ReadAt
	OpSize                         // File.Size
	OpMap                          // File.Map
	OpDropCache                    // File.DropCache
	OpClose                        // File.Close
	OpReadDir                      // ReadDir
	OpStat                         // Stat
	OpLock                         // Lock
	OpUsage                        // Usage

	opEnd

	Mutations = OpCreate | OpWrite | OpTruncate | OpSync | OpSyncDir | OpRename | OpRemove | OpMkdir
	AnyOp     = opEnd - 1
)

var opNames = [...]string{
	"create", "open", "write", "truncate", "sync", "syncdir", "rename", "remove", "mkdir", "read", "size", "map",
	"dropcache", "close", "readdir", "stat", "lock", "usage",
}

func (k OpKind) String() string {
	var names []string
	for rest := k; rest != 0; rest &= rest - 1 {
		i := bits.TrailingZeros32(uint32(rest))
		if i >= len(opNames) {
			names = append(names, fmt.Sprintf("%#x", uint32(rest)))
			break
		}
		names = append(names, opNames[i])
	}
	return strings.Join(names, "|")
}

// Op is an operation that is about to be made.
type Op struct {
	Kind OpKind
	Path string // as the caller gave it
	To   string // of a rename: the new name
	Off  int64  // of a write, read or dropped cache: where; of a truncation: the new size
	Len  int64  // of a write or read: how many bytes
	Seq  int64  // the number of the operation, counted from 1 over all that a Fault has seen
}

func (o Op) String() string {
	s := fmt.Sprintf("#%d %s %s", o.Seq, o.Kind, o.Path)
	switch o.Kind {
	case OpRename:
		s += " to " + o.To
	case OpWrite, OpRead:
		s += fmt.Sprintf(" [%d,%d)", o.Off, o.Off+o.Len)
	case OpTruncate:
		s += fmt.Sprintf(" to %d", o.Off)
	}
	return s
}
