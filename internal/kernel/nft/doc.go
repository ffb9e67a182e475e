// Package nft puts a ruleset, a value of kstate, into the kernel as the one table inet bothways, and reads back what is
// needed of it. The table is replaced whole in one transaction, so that no packet ever sees half of it; other tables
// are never touched.
//
// Every transaction has a connection of its own with large buffers: after a failure the library leaves answers unread,
// and with the default buffers a large set does not fit ("message too long").
package nft
