-- Cards of the products $1, available or not.
SELECT p.id, p.title, p.top_category, p.brand, p.price FROM products p WHERE p.id = ANY ($1)
