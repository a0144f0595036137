package kafka

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/partlog/partlog/partition"
)

// guard is what a Server's brokers share of security: access rules, SCRAM credentials and client quotas, all of which are
// settings of the store and are read anew when its SettingsVersion says that they have changed, by whomever.
type guard struct {
	store *partition.Store
	clock partition.Clock

	acls        kept[*aclIndex]
	credentials kept[*scramUsers]
	limits      kept[*quotaTable]

	alter sync.Mutex // one change of rules, credentials or quotas at a time, so that it rests on what there is
	usage quotaUsage
}

// newGuard reads what is there already. It fails if something cannot be read, as what a newer program wrote: to serve
// without a rule would be to let in whom it denies.
func newGuard(store *partition.Store, clock partition.Clock) (*guard, error) {
	g := &guard{store: store, clock: clock}
	g.acls = kept[*aclIndex]{area: aclArea, build: buildACLs}
	g.credentials = kept[*scramUsers]{area: scramArea, build: buildScramUsers}
	g.limits = kept[*quotaTable]{area: quotaArea, build: buildQuotas}
	g.usage.init()
	_, err := g.acls.get(store)
	_, err2 := g.credentials.get(store)
	_, err3 := g.limits.get(store)
	if err := errors.Join(err, err2, err3); err != nil {
		return nil, fmt.Errorf("settings of security: %w", err)
	}
	return g, nil
}

// kept is something made of the settings of one area, made again after they have changed. While nothing has, get costs two
// atomic loads.
type kept[T any] struct {
	area  string
	build func([]partition.Setting) (T, error)

	now atomic.Pointer[keptValue[T]]
	mu  sync.Mutex // held while it is made
}

type keptValue[T any] struct {
	value T
	err   error
	seen  int64 // the store's version
	area  int64 // the area's
}

// get returns what the settings amount to now. After an error value is what there was before, or zero.
func (k *kept[T]) get(store *partition.Store) (T, error) {
	version := store.SettingsVersion("")
	if v := k.now.Load(); v != nil && v.seen == version {
		return v.value, v.err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	version = store.SettingsVersion("") // before the settings are read: they may be newer, and are then read once more
	area := store.SettingsVersion(k.area)
	v := k.now.Load()
	if v != nil && v.area == area {
		v = &keptValue[T]{v.value, v.err, version, area} // something else has changed
	} else {
		made, err := k.build(store.Settings(k.area))
		v = &keptValue[T]{made, err, version, area}
	}
	k.now.Store(v)
	return v.value, v.err
}

// put changes settings while alter is held.
func (g *guard) put(c *call, changes []partition.Setting) error {
	if len(changes) == 0 {
		return nil
	}
	return g.store.PutSettings(c.ctx, changes...)
}
