-- Stock status from the catalogue's quantity and the product's own threshold. Takes the instant as every statement does: $2.
SELECT
  product_id AS id,
  CASE
    WHEN available_quantity = 0 THEN 'out_of_stock'
    WHEN available_quantity <= low_stock_threshold THEN 'low_stock'
    ELSE 'in_stock'
  END AS value
FROM product_signals
WHERE product_id = ANY ($1) AND $2::timestamptz IS NOT NULL
