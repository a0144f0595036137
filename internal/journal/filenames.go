package journal

import (
	"fmt"
	"strconv"
	"strings"
)

// The files of a journal's directory.
//
//	lock                              held by the one opener
//	mark                              how far the journal certainly reached
//	snapshot-<index>                  the owner's state after that entry; two are kept
//	<index>                           tidwall/wal: a segment, called after its first entry
//	<index>.START  <index>.END        tidwall/wal: a truncation that was interrupted
//	<index>.START.TEMP                tidwall/wal: a truncation that had not begun yet
//	entries                           the one-file storage
//	torn-<name>-<position>            bytes that recovery cut off that file
//	damaged-<name>                    a whole file that recovery replaced or set aside
//
// An index in a name has 20 digits. Other files are left alone.
const (
	lockName       = "lock"
	markName       = "mark"
	entriesName    = "entries"
	snapshotPrefix = "snapshot-"
	tornPrefix     = "torn-"
	damagedPrefix  = "damaged-"
	startSuffix    = ".START"
	endSuffix      = ".END"
	tempSuffix     = ".TEMP"
	draftSuffix    = ".tmp" // of vfs.WriteFileAtomic
	indexDigits    = 20
)

type fileKind uint8

const (
	foreignFile fileKind = iota
	lockFile
	markFile
	snapshotFile
	segmentFile
	startFile
	endFile
	entriesFile
	keptFile  // torn-, damaged-
	draftFile // left by an interrupted atomic write; never read
)

func segmentName(first uint64) string { return fmt.Sprintf("%0*d", indexDigits, first) }
func snapshotName(index uint64) string {
	return fmt.Sprintf("%s%0*d", snapshotPrefix, indexDigits, index)
}
func tornName(name string, position int64) string {
	return fmt.Sprintf("%s%s-%d", tornPrefix, name, position)
}
func damagedName(name string) string { return damagedPrefix + name }

// parseName tells what a file in the directory is, and the index in its name.
func parseName(name string) (fileKind, uint64) {
	switch name {
	case lockName:
		return lockFile, 0
	case markName:
		return markFile, 0
	case entriesName:
		return entriesFile, 0
	}
	if isDraft(name) {
		return draftFile, 0
	}
	if strings.HasPrefix(name, tornPrefix) || strings.HasPrefix(name, damagedPrefix) {
		return keptFile, 0
	}
	if rest, ok := strings.CutPrefix(name, snapshotPrefix); ok {
		if index, ok := parseIndex(rest); ok {
			return snapshotFile, index
		}
		return foreignFile, 0
	}
	kind := segmentFile
	if rest, ok := strings.CutSuffix(name, startSuffix); ok {
		kind, name = startFile, rest
	} else if rest, ok := strings.CutSuffix(name, endSuffix); ok {
		kind, name = endFile, rest
	}
	// tidwall/wal takes no notice of a segment 0, so neither is it ours.
	if index, ok := parseIndex(name); ok && index > 0 {
		return kind, index
	}
	return foreignFile, 0
}

// parseIndex accepts what tidwall/wal does, 20 digits, and nothing that strconv alone would (signs, underscores).
func parseIndex(s string) (uint64, bool) {
	if len(s) != indexDigits || strings.Trim(s, "0123456789") != "" {
		return 0, false
	}
	index, err := strconv.ParseUint(s, 10, 64)
	return index, err == nil
}

// isDraft reports whether name is that of a temporary file of tidwall/wal or of vfs.WriteFileAtomic for one of our files.
func isDraft(name string) bool {
	for _, suffix := range []string{tempSuffix, draftSuffix} {
		if rest, ok := strings.CutSuffix(name, suffix); ok && !isDraft(rest) {
			kind, _ := parseName(rest)
			return kind != foreignFile
		}
	}
	return false
}
