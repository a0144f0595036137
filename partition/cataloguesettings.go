package partition

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/partlog/partlog/internal/journal"
)

// Setting is something that a front end of the store keeps in its catalogue: access rules, credentials, quotas, dynamic
// configuration. The store gives it no meaning.
type Setting struct {
	// Key is 1 to 1024 bytes of any kind. What it has up to its second slash, as "kafka/acl/" of "kafka/acl/1", is its
	// area, see SettingsVersion; with one slash up to that, with none it is in the area of the empty name.
	Key string
	// Value is at most 1 MiB. Nil deletes the setting; an empty one that is not nil is a value.
	Value []byte
}

const (
	maxSettingKey   = 1 << 10
	maxSettingValue = 1 << 20
)

// Settings returns all settings whose keys begin with prefix, sorted by key. They are copies. On a closed store they are
// those of its end.
func (s *Store) Settings(prefix string) []Setting {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []Setting
	for key, value := range s.cat.settings {
		if strings.HasPrefix(key, prefix) {
			out = append(out, Setting{key, []byte(value)})
		}
	}
	slices.SortFunc(out, func(a, b Setting) int { return strings.Compare(a.Key, b.Key) })
	return out
}

// PutSettings makes changes, all of them or none, durable when it returns; of two changes of a key the later one counts.
// To delete what is not there is no error. Safe for concurrent use: calls happen one after the other.
//
// Errors: *ConfigError for a key or a value outside the limits of Setting, ErrMessageTooLarge if all together is above
// 16 MiB, ErrReadOnly, ErrClosed; of those nothing has happened. After ErrNoSpace or another failure to write they may still
// come true, all of them, with the next change of the catalogue or the next open; SettingsVersion tells.
func (s *Store) PutSettings(ctx context.Context, changes ...Setting) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if s.closed.Load() {
		return ErrClosed
	}
	for _, c := range changes {
		switch {
		case c.Key == "" || len(c.Key) > maxSettingKey:
			return &ConfigError{Key: "setting", Value: c.Key, Range: "1 to 1024 bytes"}
		case len(c.Value) > maxSettingValue:
			return &ConfigError{Key: c.Key, Value: fmt.Sprintf("%d bytes", len(c.Value)), Range: "up to 1 MiB"} // it may be a secret
		}
	}
	if len(changes) == 0 {
		return nil
	}
	var e encoder
	e.changes(changes)
	if s.config.Cluster != nil {
		return s.closedOr(s.propose(ctx, func() (SharedChange, error) { return SharedChange{Kind: SharedSettings, Payload: e.buf}, nil }))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	err := s.commitLocked(eventSettings, e.buf)
	if errors.Is(err, journal.ErrTooLarge) {
		err = fmt.Errorf("%w: %w", ErrMessageTooLarge, err)
	}
	return err
}

// SettingsVersion returns a number that is greater after a change of any setting in the area that prefix names; for a
// prefix of several areas, in any of them. With an empty prefix it takes no lock, so that what is made of settings may be
// kept and the number be compared at every use. Numbers of another open of the store mean nothing.
func (s *Store) SettingsVersion(prefix string) int64 {
	if prefix == "" {
		return s.settingsStamp.Load()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var version int64
	for area, stamp := range s.cat.stamps {
		if strings.HasPrefix(area, prefix) || strings.HasPrefix(prefix, area) {
			version = max(version, stamp)
		}
	}
	return version
}

// settingArea returns the area of a key.
func settingArea(key string) string {
	first := strings.IndexByte(key, '/') + 1
	return key[:first+strings.IndexByte(key[first:], '/')+1]
}

// put changes settings, after all of them have been read.
func (c *catalogue) put(changes []Setting) {
	if c.settings == nil {
		c.settings, c.stamps = map[string]string{}, map[string]int64{}
	}
	c.stamp++
	for _, change := range changes {
		c.stamps[settingArea(change.Key)] = c.stamp
		if change.Value == nil {
			delete(c.settings, change.Key)
		} else {
			c.settings[change.Key] = string(change.Value)
		}
	}
}

// changes writes what eventSettings has: of each change the key, whether there is a value, and the value.
func (e *encoder) changes(changes []Setting) {
	e.int(int64(len(changes)))
	for _, c := range changes {
		e.string(c.Key)
		e.bool(c.Value != nil)
		e.string(string(c.Value))
	}
}

func (d *decoder) changes() (out []Setting) {
	for range d.int() {
		c := Setting{Key: d.string()}
		present := d.bool()
		value := d.bytes(d.int())
		if d.err != nil {
			return nil
		}
		if present {
			c.Value = append([]byte{}, value...)
		}
		out = append(out, c)
	}
	return out
}

// encodeSettings writes the settings behind all else: only snapshots of catalogueWithSettings have them.
func (c *catalogue) encodeSettings(e *encoder) {
	e.int(int64(len(c.settings)))
	for _, key := range slices.Sorted(maps.Keys(c.settings)) {
		e.string(key)
		e.string(c.settings[key])
	}
}

func (c *catalogue) restoreSettings(d *decoder) {
	var all []Setting
	for range d.int() {
		key := d.string()
		value := bytes.Clone(d.bytes(d.int()))
		if d.err != nil {
			return
		}
		if value == nil {
			value = []byte{}
		}
		all = append(all, Setting{key, value})
	}
	c.put(all)
}
