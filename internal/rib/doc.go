// Package rib holds the routes that links learned, orders them, and says which links traffic to a prefix uses, in which
// order: its ranking.
//
// The ranking of a prefix is its own candidates in tiers, followed by the ranking of the longest prefix that covers it,
// less the links already named, and so on down to the default. Because the order of candidates is total whatever is
// taken away, the living links of a ranking's first living tier are what longest match and the decision would choose
// from scratch with the dead links' routes removed. That is the invariant of the product; a property test holds it.
//
// A Table is one mutable structure with one owner, changed in batches: Apply and the rest note what is dirty, Commit computes
// and returns what changed. Stage keeps what belongs together until Take takes it. Rankings are interned: two prefixes with the same tiers have the same id.
package rib
