-- A newer count of the same stock is kept (an older count must lose against it) without being a change: followers of
-- the catalogue have nothing to learn from it. So the numbering of changes leaves out inventory_set_time alone.

DROP TRIGGER products_2_number ON products;
CREATE TRIGGER products_2_number BEFORE INSERT OR UPDATE OF id, title, description, categories, top_category, brand,
    price, currency_code, available_quantity, low_stock_threshold, rating_average, rating_count, tags, attributes,
    available_time, expire_time, create_time, update_time, text_digest ON products
    FOR EACH ROW EXECUTE FUNCTION number_product_change();
