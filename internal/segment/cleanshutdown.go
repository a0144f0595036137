package segment

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"strconv"

	"github.com/partlog/partlog/internal/vfs"
)

// NoBrokerEpoch is the broker epoch of a marker that has none.
const NoBrokerEpoch = -1

// AppendCleanShutdown appends the content of .kafka_cleanshutdown to dst
// (KIP-966). Its presence says that everything in the log directory was closed
// and synced; it is written last, and removed first by the next open.
func AppendCleanShutdown(dst []byte, brokerEpoch int64) []byte {
	dst = append(dst, `{"version":`...)
	dst = strconv.AppendInt(dst, cleanShutdownVersion, 10)
	dst = append(dst, `,"brokerEpoch":`...)
	dst = strconv.AppendInt(dst, brokerEpoch, 10)
	return append(dst, '}')
}

// ParseCleanShutdown parses the content of .kafka_cleanshutdown. Errors are
// *CorruptError and *VersionError. Brokers before 3.7 wrote an empty marker; it
// is an error here, since a crash may leave one too: an open that is not sure
// scans.
func ParseCleanShutdown(data []byte) (brokerEpoch int64, err error) {
	var marker struct {
		Version     *int64 `json:"version"`
		BrokerEpoch *int64 `json:"brokerEpoch"`
	}
	if err := json.Unmarshal(data, &marker); err != nil {
		return NoBrokerEpoch, corrupt(0, "clean shutdown marker is no JSON")
	}
	if marker.Version == nil {
		return NoBrokerEpoch, corrupt(0, "clean shutdown marker has no version")
	}
	if err := checkVersion(*marker.Version, cleanShutdownVersion, 0); err != nil {
		return NoBrokerEpoch, err
	}
	if marker.BrokerEpoch == nil {
		return NoBrokerEpoch, corrupt(0, "clean shutdown marker has no broker epoch")
	}
	return *marker.BrokerEpoch, nil
}

// WriteCleanShutdown writes .kafka_cleanshutdown into dir. It is complete and
// synced when it returns nil.
func WriteCleanShutdown(fsys vfs.FS, dir string, brokerEpoch int64) error {
	return vfs.WriteFileAtomic(fsys, filepath.Join(dir, CleanShutdownName), AppendCleanShutdown(nil, brokerEpoch))
}

// ReadCleanShutdown reads .kafka_cleanshutdown from dir. Errors are
// ParseCleanShutdown's and the file system's; fs.ErrNotExist is an unclean end.
func ReadCleanShutdown(fsys vfs.FS, dir string) (brokerEpoch int64, err error) {
	path := filepath.Join(dir, CleanShutdownName)
	data, err := readFile(fsys, path, maxMetadataBytes)
	if err != nil {
		return NoBrokerEpoch, err
	}
	brokerEpoch, err = ParseCleanShutdown(data)
	return brokerEpoch, at(path, err)
}

// RemoveCleanShutdown removes .kafka_cleanshutdown from dir, durably.
func RemoveCleanShutdown(fsys vfs.FS, dir string) error {
	if err := fsys.Remove(filepath.Join(dir, CleanShutdownName)); err != nil {
		return err
	}
	if err := fsys.SyncDir(dir); err != nil {
		return fmt.Errorf("sync directory of %s: %w", CleanShutdownName, err)
	}
	return nil
}
